// `reflexdb.yaml`: all that is wrong with it at once, each with its place; and what it makes of a schema.
import { describe, expect, test } from "vitest";
import { configProblems } from "../../contract/reflexdb-yaml.ts";
import type { ColumnType, SourceSchema, SourceTable } from "../../contract/source-schema.ts";
import { openApiOf } from "../../engine/build/openapi.ts";
import { composeShape } from "../../engine/config/compose.ts";

const column = (name: string, kind: "integer" | "text" | null = "integer") => ({
  name,
  declared: kind ?? "geometry",
  type: kind === null ? null : ({ kind } as ColumnType),
  nullable: true,
});
const table = (
  name: string,
  columns: string[],
  keys: [string, string][] = [],
  more: Partial<SourceTable> = {},
): SourceTable => ({
  ...{ name, columns: columns.map((each) => column(each)), primaryKey: ["id"], indexes: [], wholeTable: null },
  foreignKeys: keys.map(([own, target]) => ({
    name: own,
    columns: [own],
    table: target,
    references: ["id"],
    cascades: false,
  })),
  ...more,
});
const SCHEMA: SourceSchema = {
  ...{ kind: "mysql", version: "test", name: "shop", findings: [] },
  tables: [
    table("likes", ["id", "user", "user_id"], [["user_id", "users"]]),
    table(
      "messages",
      ["id", "from_id", "to_id"],
      [
        ["from_id", "users"],
        ["to_id", "users"],
      ],
    ),
    { ...table("places", ["id", "deleted"]), columns: [column("id"), column("deleted"), column("shape", null)] },
    table("users", ["id", "boss_id", "deleted", "name"], [["boss_id", "users"]]),
    table("week-days", ["id"]),
  ],
};

const problems = (yaml: string) => {
  const composed = composeShape(SCHEMA, yaml);
  return "problems" in composed
    ? composed.problems.map(({ code, line, column: at, nearest }) => [code, line, at, ...nearest])
    : [];
};
const shaped = (yaml: string | null) => {
  const composed = composeShape(SCHEMA, yaml);
  if ("problems" in composed) throw new Error(JSON.stringify(composed.problems));
  return composed;
};
const relations = (yaml: string | null, name: string) =>
  shaped(yaml)
    .shape.tables.find((each) => each.source === name)
    ?.relations.map((each) => each.name);

describe("what is wrong", () => {
  test.each([
    ["tables: [", [["yaml", 1, 10]]],
    ["a: 1\na: 2", [["yaml", 2, 1]]],
    [
      "tables: []",
      [
        ["required", 1, 1],
        ["invalid", 1, 9],
      ],
    ],
    [
      "version: 2\ntable: []",
      [
        ["invalid", 1, 10],
        ["unknown_key", 2, 1, "tables"],
      ],
    ],
    [
      "version: 1\ntables:\n  - name: usrs\n  - name: users\n    colums: [id]",
      [
        ["unknown_table", 3, 11, "users"],
        ["unknown_key", 5, 5, "columns"],
      ],
    ],
    ["", [["invalid", 1, 1]]],
    [
      "version: 2\ntabels: []\nsync: { interval: 0 }\nwhere: 5\ntables:\n  - nam: users\n  - name: users\n    alias: 1\n    columns: [id, nme]\n    where: naem = 1\n  - name: usrs",
      [
        ["invalid", 1, 10],
        ["unknown_key", 2, 1, "tables"],
        ["invalid", 3, 19],
        ["invalid", 4, 8],
        ["required", 6, 5],
        ["unknown_key", 6, 5, "name"],
        ["invalid", 8, 12],
        ["unknown_column", 9, 19, "name"],
        ["unknown_field", 10, 12],
        ["unknown_table", 11, 11, "users"],
      ],
    ],
    [
      "version: 1\ntables:\n  - name: usrs\n  - name: users\n    columns: [id, nme]\n  - name: users",
      [
        ["unknown_table", 3, 11, "users"],
        ["duplicate_table", 6, 11],
        ["unknown_column", 5, 19, "name"],
      ],
    ],
    ["version: 1\ntables:\n  - name: users\n    columns: [name]", [["primary_key_left_out", 4, 14]]],
    ["version: 1\ntables:\n  - name: places\n    columns: [id, shape]", [["unsupported_type", 4, 19]]],
    ["version: 1\ntables:\n  - name: users\n    alias: x\n  - name: likes\n    alias: x", [["duplicate_alias", 4, 12]]],
    [
      "version: 1\ntables:\n  - name: users\n    alias: 1x\n    field_aliases: { name: id, nam: y }",
      [
        ["invalid", 4, 12],
        ["unknown_column", 5, 37, "name"],
        ["duplicate_alias", 5, 28],
      ],
    ],
    [
      "version: 1\ntables:\n  - name: users\n    field_aliases: { name: id, nam: y }",
      [
        ["unknown_column", 4, 37, "name"],
        ["duplicate_alias", 4, 28],
      ],
    ],
    [
      "version: 1\ntables:\n  - name: users\n    relations: { include: [bos], exclude: [boss] }\n    reverse_relations: { exclude: [nothing] }",
      [
        ["unknown_relation", 4, 28, "boss"],
        ["unknown_relation", 5, 36],
        ["include_and_exclude", 4, 16],
      ],
    ],
    ["version: 1\nwhere: deleted = 0", [["required", 2, 8]]],
    ["version: 1\nwhere: deleted = \nwhere_columns: [deleted]", [["parse_error", 2, 8]]],
    ["version: 1\ntables:\n  - name: users\n    where: delted = 0", [["unknown_field", 4, 12, "deleted"]]],
    ["version: 1\ntables:\n  - name: users\n    where: boss.id = 0", [["unknown_field", 4, 12, "boss_id"]]],
    [
      "version: 1\nsync: { interval: 0 }\ncdc_reconnect_mode: maybe",
      [
        ["invalid", 2, 19],
        ["invalid", 3, 21],
      ],
    ],
  ])("%j", (yaml, expected) => {
    expect(problems(yaml).sort()).toEqual([...expected].sort());
    const places = problems(yaml).map(([, line, at]) => [line as number, at as number] as const);
    expect(places).toEqual(places.toSorted(([a, c], [b, d]) => a - b || c - d));
  });

  test.each([
    ["", "expected a file with `version: 1`, got nothing"],
    ["version: 1\nsync: { interval: 0 }", "interval: expected at least 1, got 0"],
    ["version: 1\ncdc_reconnect_mode: maybe", 'cdc_reconnect_mode: expected full or resume, got "maybe"'],
    ["version: 1\ntables: 1", "tables: expected a list, got 1"],
    ["version: 1\ntables: []", "tables: expected not to be empty"],
    ["tables: [{}]\nversion: 1", "name: expected, and missing"],
  ])("%j is told as its user would", (yaml, message) => {
    expect(configProblems(yaml).map((problem) => problem.message)).toEqual([message]);
  });
});

describe("what it makes", () => {
  test("without the file there is everything that can be", () => {
    const { shape, findings } = shaped(null);
    expect(shape.tables.map(({ name }) => name)).toEqual(["likes", "messages", "places", "users", "week_days"]);
    expect(shape.tables[2]?.columns.map(({ name }) => name)).toEqual(["id", "deleted"]);
    expect(findings.map(({ code }) => code)).toEqual(expect.arrayContaining(["name_changed", "relation_renamed"]));
  });

  test("relations are called after their column, and give way to columns and to each other", () => {
    expect(relations(null, "users")).toEqual(["boss", "likes", "messages_by_from", "messages_by_to", "users"]);
    expect(relations(null, "messages")).toEqual(["from", "to"]);
    expect(relations(null, "likes")).toEqual(["users_by_user_id"]);
    const yaml =
      "version: 1\ntables:\n  - name: users\n    alias: people\n    relations: { exclude: [boss] }\n    reverse_relations: { exclude: [people] }\n  - name: likes\n    columns: [id]";
    expect(relations(yaml, "users")).toEqual(["likes"]);
    expect(relations(yaml, "likes")).toEqual(["user"]);
  });

  test("what is hidden is kept where a relation or a filter needs it, and is in no description", () => {
    const yaml =
      "version: 1\nwhere: deleted = 0\nwhere_columns: [deleted]\ntables:\n  - name: users\n    columns: [id, name]\n    field_notes: { name: full }\n  - name: places\n    where: id > 5\n  - name: messages";
    const { shape } = shaped(yaml);
    const users = shape.tables.find(({ source }) => source === "users");
    expect(users?.columns.map(({ source, name }) => [source, name])).toEqual([
      ["id", "id"],
      ["boss_id", null],
      ["deleted", null],
      ["name", "name"],
    ]);
    expect(shape.tables.map(({ source, where }) => [source, where])).toEqual([
      ["messages", null],
      ["places", "id > 5"],
      ["users", "deleted = 0"],
    ]);
    const openapi = JSON.stringify(openApiOf(shape));
    expect(openapi).not.toContain("boss_id");
    expect(openapi).toContain("full");
  });
});

test("an interval that is shorter than the connection permits is told with its place", () => {
  const composed = composeShape(SCHEMA, "version: 1\nsync:\n  interval: 5", 10);
  expect(composed).toMatchObject({
    problems: [{ code: "too_short", line: 3, column: 13, message: "the connection allows no less than 10" }],
  });
  expect(composeShape(SCHEMA, "version: 1\nsync:\n  interval: 10", 10)).toHaveProperty("shape");
});
