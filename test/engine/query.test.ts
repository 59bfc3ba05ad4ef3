// What queries say and what is wrong with them, on a few rows in memory.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ColumnType, SourceSchema, SourceTable } from "../../contract/source-schema.ts";
import { buildEngine } from "../../engine/build/bundle.ts";
import { composeShape } from "../../engine/config/compose.ts";
import { type Answer, Queries } from "../../engine/query/queries.ts";
import type { Engine } from "../../engine/run.ts";
import type { Store } from "../../engine/store/table.ts";
import { EVERYTHING, type Scope } from "../../query/check.ts";
import { LikePattern } from "../../query/like.ts";
import { parseFilter } from "../../query/parser.ts";
import { QueryProblem } from "../../query/problem.ts";

const column = (name: string, type: ColumnType, nullable = false) => ({ name, declared: type.kind, type, nullable });
const whole: ColumnType = { kind: "integer" };
const text: ColumnType = { kind: "text" };
const table = (name: string, columns: SourceTable["columns"], more: Partial<SourceTable> = {}): SourceTable => ({
  ...{ name, columns, primaryKey: ["id"], foreignKeys: [], indexes: [], wholeTable: null },
  ...more,
});
const key = (column: string, target: string) => ({
  name: `${column}_fk`,
  columns: [column],
  table: target,
  references: ["id"],
  cascades: false,
});

const SCHEMA: SourceSchema = {
  ...{ kind: "mysql", version: "test", name: "blog", findings: [] },
  tables: [
    table("comments", [column("id", whole), column("post_id", whole), column("approved", { kind: "boolean" }, true)], {
      foreignKeys: [key("post_id", "posts")],
    }),
    table(
      "posts",
      [
        column("id", whole),
        column("author_id", whole, true),
        column("title", text),
        column("price", { kind: "decimal", precision: 8, scale: 2 }, true),
        column("at", { kind: "datetime", zoned: true }, true),
        column("data", { kind: "json" }, true),
      ],
      { foreignKeys: [key("author_id", "users")] },
    ),
    table("users", [
      column("id", whole),
      column("name", text),
      column("age", whole, true),
      column("secret", text, true),
    ]),
  ],
};
const YAML = `
version: 1
tables:
  - name: comments
  - name: posts
    alias: articles
    field_aliases: { at: published }
  - name: users
    columns: [id, name, age]
`;

const ROWS: Record<string, (string | null)[][]> = {
  comments: [
    ["1", "1", "1"],
    ["2", "1", "0"],
    ["3", "2", null],
  ],
  posts: [
    ["1", "1", "one", "1.50", "2024-01-01 10:00:00+00", '{"a": 1}'],
    ["2", "1", 'two "2"', null, null, null],
    ["3", null, "three", "-0.05", "2024-03-01 00:00:00.5+00", "[]"],
  ],
  users: [
    ["1", "Ann", "30"],
    ["2", "bob", null],
    ["3", "Cy_d", "20"],
  ],
};

describe("queries", () => {
  let folder: string;
  let store: Store;
  let queries: Queries;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lamplighter-query-"));
    const composed = composeShape(SCHEMA, YAML);
    if ("problems" in composed) throw new Error(JSON.stringify(composed.problems));
    const { path, id } = await buildEngine(composed.shape, folder);
    expect(await buildEngine(composed.shape, folder), "the same input gives the same artifact").toMatchObject({ id });
    const engine = (await import(path)) as Engine;
    store = engine.createStore();
    for (const [place, { source }] of engine.shape.tables.entries()) {
      const own = store.tables[place];
      for (const row of ROWS[source] ?? []) own?.append(own.read(row));
      own?.finish();
    }
    queries = new Queries(engine.shape);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (query: string, scope: Scope = EVERYTHING, of = ""): Answer => queries.run(store, query, scope, of);
  const rows = (query: string, scope?: Scope, of?: string): unknown =>
    JSON.parse(run(query, scope, of).json.toString());

  test.each([
    ["users { id }", [{ id: 1 }, { id: 2 }, { id: 3 }]],
    [
      "users{id,name}",
      [
        { id: 1, name: "Ann" },
        { id: 2, name: "bob" },
        { id: 3, name: "Cy_d" },
      ],
    ],
    ["users(id = 2) { * }", [{ id: 2, name: "bob", age: null }]],
    ["users(id = 1) { n: name a: articles(limit: 1) { id } }", [{ n: "Ann", a: [{ id: 1 }] }]],
    [
      "articles(id = 3) { * }",
      [{ id: 3, author_id: null, title: "three", price: "-0.05", published: "2024-03-01T00:00:00.500Z", data: [] }],
    ],
    ["articles(id = 3) { author { name } }", [{ author: null }]],
    [
      "comments(id = 1) { ... }",
      [
        {
          id: 1,
          post_id: 1,
          approved: true,
          post: { id: 1, author_id: 1, title: "one", price: "1.50", published: "2024-01-01T10:00:00Z", data: { a: 1 } },
        },
      ],
    ],
    ["comments(id = 1) { * post { id } }", [{ id: 1, post_id: 1, approved: true, post: { id: 1 } }]],
    ['articles(title = "two \\"2\\"") { id }', [{ id: 2 }]],
    // Three values of truth: what is null is neither.
    ["users(age > 20) { id }", [{ id: 1 }]],
    ["users(NOT (age > 20)) { id }", [{ id: 3 }]],
    ["users(NOT (age > 20 OR id = 2)) { id }", [{ id: 3 }]],
    ["users(age IS NULL OR age < 25) { id }", [{ id: 2 }, { id: 3 }]],
    ["users(age NOT IN (30)) { id }", [{ id: 3 }]],
    ["users(id = 1 OR id = 2 AND age IS NOT NULL) { id }", [{ id: 1 }]],
    ["users(age between 20 and 30 and id != 1) { id }", [{ id: 3 }]],
    ['users(name LIKE "%n" OR name LIKE "cy%") { id }', [{ id: 1 }]],
    ['users(name ILIKE "CY\\\\_%") { id }', [{ id: 3 }]],
    // A path: some row there.
    ["users(articles.comments.approved = false) { id }", [{ id: 1 }]],
    ["users(articles.comments.approved = true AND articles.comments.approved = false) { id }", [{ id: 1 }]],
    ["articles(comments(approved = true AND id = 2)) { id }", []],
    ["users(NOT articles.id > 0) { id }", [{ id: 2 }, { id: 3 }]],
    [
      "articles(author.age = 30) { id comments(approved IS NULL) { id } }",
      [
        { id: 1, comments: [] },
        { id: 2, comments: [{ id: 3 }] },
      ],
    ],
    ["articles(price = 1.5) { id }", [{ id: 1 }]],
    ["articles(price < 1e0) { id }", [{ id: 3 }]],
    ['articles(published >= "2024-01-01T11:00:00+01:00", order: published desc) { id }', [{ id: 3 }, { id: 1 }]],
    ["articles(data IS NOT NULL, order: price) { id }", [{ id: 3 }, { id: 1 }]],
    ["users(order: age, limit: 2, offset: 1) { id }", [{ id: 3 }, { id: 1 }]],
    ["users(order: id desc, limit: 2) { id }", [{ id: 3 }, { id: 2 }]],
    ["users(id < 3, order: id desc, limit: 5) { id }", [{ id: 2 }, { id: 1 }]],
    ["users(id > 1, order: id desc, offset: 1) { id }", [{ id: 2 }]],
    ["users(id IN (3, 1, 3, 9)) { id }", [{ id: 1 }, { id: 3 }]],
    ["users(id > 1 AND id <= 3) { id }", [{ id: 2 }, { id: 3 }]],
    ["users(id > -3000000000 AND id < 1e10) { id }", [{ id: 1 }, { id: 2 }, { id: 3 }]],
    ["{ users(id = 1) { id } more: users(id = 2) { id } }", { users: [{ id: 1 }], more: [{ id: 2 }] }],
    ["users(`id` = 1) { `name` }", [{ name: "Ann" }]],
  ])("%s", (query, expected) => expect(rows(query)).toEqual(expected));

  test.each([
    ["", "parse_error", 1, 1],
    ["users", "parse_error", 1, 6],
    ["users { }", "parse_error", 1, 9],
    ["users {\n  id\n  ?\n}", "parse_error", 3, 3],
    ["users(name = 'x') { id }", "parse_error", 1, 14],
    ["users(age = NULL) { id }", "parse_error", 1, 13],
    ["users(limit: 5, 1 = 1) { id }", "parse_error", 1, 17],
    ["users(articles) { id }", "parse_error", 1, 15],
    ["users { articles }", "parse_error", 1, 9],
    ["users(limit: 1, limit: 2) { id }", "parse_error", 1, 17],
    ["users(limit: -1) { id }", "parse_error", 1, 14],
    ["usrs { id }", "unknown_table", 1, 1],
    ["posts { id }", "unknown_table", 1, 1],
    ["users { nme }", "unknown_field", 1, 9],
    ["users { secret }", "unknown_field", 1, 9],
    ['users(secret = "x") { id }', "unknown_field", 1, 7],
    ["users(articles.autor.id = 1) { id }", "unknown_field", 1, 16],
    ["users { name { id } }", "unknown_field", 1, 9],
    ['users(id = "x") { id }', "type_mismatch", 1, 12],
    ["users(name = 5) { id }", "type_mismatch", 1, 14],
    ['articles(published = "yesterday") { id }', "type_mismatch", 1, 22],
    ['articles(data = "x") { id }', "type_mismatch", 1, 17],
    ['users(id LIKE "1%") { id }', "type_mismatch", 1, 7],
    ["users { id id }", "duplicate_field", 1, 12],
    ["users(limit: 1001) { id }", "limit_exceeded", 1, 14],
    ["users { articles(limit: 101) { id } }", "limit_exceeded", 1, 25],
    ['users(after: "x") { id }', "invalid_cursor", 1, 14],
    ['users { articles(after: "x") { id } }', "parse_error", 1, 25],
    [`users { ${"articles { author { ".repeat(5)}id${" } }".repeat(5)} }`, "depth_exceeded", 1, undefined],
    [`users(${"(".repeat(150)}id = 1${")".repeat(150)}) { id }`, "depth_exceeded", 1, undefined],
    [`users(${"id = 1 OR ".repeat(250)}id = 2) { id }`, "too_many_conditions", 1, undefined],
  ] as const)("%s is answered with %s", (query, code, line, place) => {
    try {
      run(query);
    } catch (error) {
      expect(error).toBeInstanceOf(QueryProblem);
      const body = (error as QueryProblem).body(query);
      expect(body).toMatchObject({ code, line, ...(place === undefined ? {} : { column: place }) });
      return;
    }
    expect.unreachable(`${query} was answered`);
  });

  test("a row with more names than a short function has bytes", () => {
    const names = Array.from({ length: 300 }, (_, i) => `the name of field ${i}, é`);
    const fields = names.map((name, i) => `\`${name}\`: ${["name", "age", "id"][i % 3]}`);
    const expected = Object.fromEntries(names.map((name, i) => [name, ["bob", null, 2][i % 3]]));
    expect(rows(`users(id = 2) { ${fields.join(" ")} }`)).toEqual([expected]);
  });

  test("the nearest names are told, and none that are hidden", () => {
    const nearest = (query: string) => {
      try {
        run(query);
      } catch (error) {
        return (error as QueryProblem).nearest;
      }
      return null;
    };
    expect(nearest("usrs { id }")).toEqual(["users"]);
    expect(nearest("users { nam }")).toEqual(["name"]);
    expect(nearest("users { secre }")).toEqual([]);
  });

  test("a cursor goes on where a page ended, in whatever order, also past what is null", () => {
    for (const args of [
      "limit: 1",
      "order: age desc, limit: 1",
      "order: age, limit: 2",
      "id > 0, limit: 2",
      "age IS NOT NULL, order: name, limit: 1",
    ]) {
      const seen: unknown[] = [];
      let cursor: string | null = null;
      do {
        const page = run(`users(${args}${cursor === null ? "" : `, after: "${cursor}"`}) { id }`);
        seen.push(...(JSON.parse(page.json.toString()) as unknown[]));
        expect(page.more).toBe(page.cursor !== null);
        cursor = page.cursor;
      } while (cursor !== null);
      expect(seen, args).toEqual(rows(`users(${args.replace(/limit: \d/, "limit: 100")}) { id }`));
    }
    const { cursor } = run("users(limit: 1) { id }");
    expect(() => run(`users(order: age, after: "${cursor}") { id }`)).toThrow(/another table or another order/);
    expect(() => run(`comments(after: "${cursor}") { id }`)).toThrow(/another table or/);
  });

  test("a key sees its tables and its rows, whichever way they are reached", () => {
    const scope: Scope = {
      tables: new Set(["users", "articles"]),
      rows: new Map([["articles", parseFilter("price > 0")]]),
    };
    expect(rows("articles { id }", scope, "some")).toEqual([{ id: 1 }]);
    expect(rows("users(id = 1) { articles { id } }", scope, "some")).toEqual([{ articles: [{ id: 1 }] }]);
    expect(rows("users(articles.id = 2) { id }", scope, "some")).toEqual([]);
    expect(rows("users(id = 1) { ... }", scope, "some")).toMatchObject([{ articles: [{ id: 1 }] }]);
    expect(rows("articles { ... }", scope, "some")).toEqual([
      expect.not.objectContaining({ comments: expect.anything() }),
    ]);
    expect(() => run("comments { id }", scope, "some")).toThrow(/not for the table/);
    expect(() => run("articles { comments { id } }", scope, "some")).toThrow(/not for the table/);
    expect(() => run("users(articles.comments.id = 1) { id }", scope, "some")).toThrow(/not for the table/);
    // The same words of a key that sees all are another plan.
    expect(rows("articles { id }")).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
  });

  test("queries that differ in literals only are compiled once", () => {
    const before = queries.compiled;
    for (let i = 0; i < 50; i++) rows(`users(id = ${i} AND name != "x${i}", limit: ${i + 1}) { id age }`);
    expect(queries.compiled).toBe(before + 1);
  });

  test("rows that come, change and go keep every index", () => {
    const [comments] = store.tables;
    for (let id = 100; id < 1500; id++) comments?.put([id, 1 + (id % 3), id % 2]);
    for (let id = 100; id < 1500; id += 2) comments?.remove([id]);
    for (let id = 101; id < 1500; id += 4) comments?.put([id, 2, 0]);
    expect(rows("articles(id = 2) { comments(id > 1490) { id } }")).toEqual([
      { comments: [{ id: 1493 }, { id: 1495 }, { id: 1497 }].filter(({ id }) => id % 4 === 1 || id % 3 === 1) },
    ]);
    expect(() => run("articles { comments { id } }")).toThrow(/more than 100 in 'comments'/);
    for (let id = 100; id < 1500; id++) comments?.remove([id]);
    expect(rows("articles { comments { id } }")).toEqual([
      { comments: [{ id: 1 }, { id: 2 }] },
      { comments: [{ id: 3 }] },
      { comments: [] },
    ]);
  });
});

test("of two relations to one table both are near to its name", () => {
  const posts = table("posts", [column("id", whole), column("user_id", whole), column("editor_id", whole)], {
    foreignKeys: [key("user_id", "users"), key("editor_id", "users")],
  });
  const composed = composeShape({ ...SCHEMA, tables: [posts, table("users", [column("id", whole)])] }, null);
  if ("problems" in composed) throw new Error(JSON.stringify(composed.problems));
  const queries = new Queries(composed.shape);
  const ask = () => queries.run({ tables: [] } as unknown as Store, "users { posts { id } }", EVERYTHING, "");
  expect(ask).toThrow(expect.objectContaining({ nearest: ["posts_by_user", "posts_by_editor"] }));
});

test("a table with a filter keeps the rows that meet it, as they come, change and go", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lamplighter-query-"));
  try {
    const composed = composeShape(
      SCHEMA,
      "version: 1\ntables:\n  - name: users\n    columns: [id, name]\n    where: age >= 18 AND name NOT LIKE '%!' OR age IN (5, 6)",
    );
    if ("problems" in composed) throw new Error(JSON.stringify(composed.problems));
    const engine = (await import((await buildEngine(composed.shape, folder)).path)) as Engine;
    const store = engine.createStore();
    const [users] = store.tables as [Store["tables"][number]];
    // id, name, age
    for (const row of [
      ["1", "a", "18"],
      ["2", "b", "17"],
      ["3", "c!", "20"],
      ["4", "d", null],
      ["5", "e!", "5"],
    ])
      users.append(users.read(row));
    users.finish();
    const queries = new Queries(engine.shape);
    const ids = () =>
      (JSON.parse(queries.run(store, "users { id }", EVERYTHING, "").json.toString()) as { id: number }[]).map(
        ({ id }) => id,
      );
    expect(ids()).toEqual([1, 5]);
    users.put([2, "b", 18]);
    users.put([1, "a", 17]);
    users.put([6, "f", 1]);
    users.put([7, "g", 6]);
    expect(users.remove([4, "d", null])).toBe(false);
    expect([ids(), users.live]).toEqual([[2, 5, 7], 3]);
    expect(() => queries.run(store, "users(age = 5) { id }", EVERYTHING, "")).toThrow(/no field 'age'/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.each([
  ["a%b%c", "aXbYbZc", true],
  ["a%b%c", "aXbYbZ", false],
  ["_b", "ab", true],
  ["_b", "😀b", true],
  ["__", "😀", false],
  ["", "", true],
  ["%", "", true],
  ["100\\%", "100%", true],
  ["100\\%", "1000", false],
  ["%a_", "xxab", true],
  [`${"%a".repeat(25)}b`, "a".repeat(5000), false],
])("LIKE %s of %s", (pattern, value, expected) => {
  expect(new LikePattern(pattern, false).matches(value)).toBe(expected);
});
