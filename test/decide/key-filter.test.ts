import { describe, expect, test } from "vitest";
import type { QuerySchema } from "../../contract/query-schema.ts";
import { keyViolations } from "../../objects/instance/key-check.ts";
import { rowFilters } from "../../query/key-filter.ts";

const column = (name: string | null, kind: "integer" | "text" | "boolean" | "json") => ({ name, type: { kind } });
const SCHEMA: QuerySchema = {
  tables: [
    {
      name: "users",
      columns: [column("id", "integer"), column("plan", "text"), column(null, "text"), column("data", "json")],
      key: [0],
      relations: [{ name: "posts", kind: "many", table: 1, columns: [0], references: [1] }],
    },
    {
      name: "posts",
      columns: [column("id", "integer"), column("user_id", "integer"), column("approved", "boolean")],
      key: [0],
      relations: [{ name: "user", kind: "one", table: 0, columns: [1], references: [0] }],
    },
  ],
};
const wrong = (rows: Record<string, string>, tables?: string[], schema: QuerySchema | null = SCHEMA) =>
  keyViolations({ rows, tables }, schema, []).map(({ property_path, code, line, column: place, nearest }) => [
    property_path,
    code.replace("instance.key.", ""),
    ...(line === undefined ? [] : [line, place]),
    ...(nearest ?? []),
  ]);

describe("the filters of a key", () => {
  test.each([
    ['plan = "pro" AND posts.approved = true'],
    ["posts(approved = true AND user.plan IS NOT NULL)"],
    ["NOT (id IN (1, 2) OR data IS NULL)"],
  ])("%s fits", (filter) => expect(wrong({ users: filter }, ["users"])).toEqual([]));

  test.each<[string, unknown[][]]>([
    ["", [["parse_error", 1, 1]]],
    ["plan = 'pro'", [["parse_error", 1, 8]]],
    ["id = 1 AND\n (plan = ", [["parse_error", 2, 10]]],
    ["plam = 1", [["unknown_field", 1, 1, "plan"]]],
    ["posts.aproved = true", [["unknown_field", 1, 7, "approved"]]],
    ["post.approved = true", [["unknown_field", 1, 1, "posts"]]],
    ["plan.approved = true", [["unknown_field", 1, 1]]],
    [
      'id = "1" OR NOT plan > 5',
      [
        ["type_mismatch", 1, 6],
        ["type_mismatch", 1, 24],
      ],
    ],
    [
      'id = 1 AND (nope = 2 OR\n  data = "x")',
      [
        ["unknown_field", 1, 13],
        ["type_mismatch", 2, 10],
      ],
    ],
  ])("%s: everything is told at once, and where", (filter, problems) =>
    expect(wrong({ users: filter })).toEqual(problems.map((each) => ["rows.users", ...each])),
  );

  test("no more than a query may have", () =>
    expect(wrong({ users: `${"id = 1 OR ".repeat(250)}id = 2` })).toEqual([
      ["rows.users", "too_many_conditions", 1, 1991],
    ]));

  test("tables too, of both lists", () =>
    expect(wrong({ user: "id = 1", posts: "id =" }, ["posts", "uses"])).toEqual([
      ["tables[1]", "unknown_table", "users"],
      ["rows.user", "unknown_table", "users"],
      ["rows.posts", "parse_error", 1, 5],
    ]));

  test("a hidden column is not named, nor does it exist", () =>
    expect(keyViolations({ rows: { users: 'secret = "x"' } }, SCHEMA, [])[0]).toEqual({
      property_path: "rows.users",
      message: "1:1 'users' has no field 'secret'",
      code: "instance.key.unknown_field",
      line: 1,
      column: 1,
    }));

  test("before anything was built only how they are written is looked at", () => {
    expect(wrong({ whatever: "a.b = 1" }, ["x"], null)).toEqual([]);
    expect(wrong({ whatever: "a.b = " }, ["x"], null)).toEqual([["rows.whatever", "parse_error", 1, 7]]);
  });

  test("one of a table that is called otherwise now is a problem: its rows are there under the other name", () => {
    const renamed = { tables: SCHEMA.tables.map((table) => ({ ...table, name: `${table.name}_2` })) };
    expect(rowFilters(renamed, { users: "id = 1" }).problems).toMatchObject([
      { table: "users", problem: { code: "unknown_table", nearest: ["users_2"] } },
    ]);
  });
});
