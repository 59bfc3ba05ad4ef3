// Lists inside lists: at their limits, over many rows, and with texts of all kinds; each answer is compared with one made of plain objects.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import type { ColumnType, SourceSchema } from "../../contract/source-schema.ts";
import { buildEngine } from "../../engine/build/bundle.ts";
import { composeShape } from "../../engine/config/compose.ts";
import { FoundRows, MOST_PLACES } from "../../engine/query/found-rows.ts";
import { Queries } from "../../engine/query/queries.ts";
import type { Engine } from "../../engine/run.ts";
import type { Store, Table } from "../../engine/store/table.ts";
import { EVERYTHING } from "../../query/check.ts";
import { random } from "../random.ts";

const column = (name: string, kind: "integer" | "bigint" | "text", nullable = false) => ({
  ...{ name, declared: kind, nullable },
  type: { kind } as ColumnType,
});
const key = (column: string, target: string) => ({
  ...{ name: `${column}_fk`, columns: [column], table: target, references: ["id"], cascades: false },
});
const no = { primaryKey: ["id"], foreignKeys: [], indexes: [], wholeTable: null };
const SCHEMA: SourceSchema = {
  ...{ kind: "mysql", version: "test", name: "blog", findings: [] },
  tables: [
    { ...no, name: "users", columns: [column("id", "integer"), column("name", "text", true)] },
    {
      ...{ ...no, name: "posts", foreignKeys: [key("user_id", "users"), key("editor_id", "users")] },
      columns: [
        column("id", "bigint"),
        column("user_id", "integer"),
        column("editor_id", "integer", true),
        column("title", "text"),
      ],
    },
    {
      ...{ ...no, name: "comments", foreignKeys: [key("post_id", "posts")] },
      columns: [column("id", "integer"), column("post_id", "bigint"), column("body", "text", true)],
    },
  ],
};

type User = { id: number; name: string | null };
type Post = { id: number; user_id: number; editor_id: number | null; title: string };
type Comment = { id: number; post_id: number; body: string | null };

let folder: string;
let engine: Engine;
let queries: Queries;
let store: Store;
let users: User[];
let posts: Post[];
let comments: Comment[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lamplighter-lists-"));
  const composed = composeShape(SCHEMA, null);
  if ("problems" in composed) throw new Error(JSON.stringify(composed.problems));
  engine = (await import((await buildEngine(composed.shape, folder)).path)) as Engine;
  queries = new Queries(engine.shape);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  store = engine.createStore();
  [users, posts, comments] = [[], [], []];
});

function fill(): void {
  const of = { users, posts, comments } as Record<string, object[]>;
  for (const [place, { name }] of engine.shape.tables.entries()) {
    const table = store.tables[place] as Table;
    for (const row of of[name] ?? []) table.append(Object.values(row));
    table.finish();
  }
}

const ask = (query: string): unknown => {
  const { json } = queries.run(store, query, EVERYTHING, "");
  const rows: unknown = JSON.parse(json.toString());
  queries.sent(json);
  return rows;
};
const byId = <T extends { id: number }>(rows: T[]): T[] => rows.toSorted((a, b) => a.id - b.id);
const postsOf = ({ id }: User) => byId(posts.filter(({ user_id }) => user_id === id));
const commentsOf = ({ id }: Post) => byId(comments.filter(({ post_id }) => post_id === id));
const only = <T extends { id: number }>({ id }: T): { id: number } => ({ id });

/** Posts and comments of users, in an order that has nothing to do with where they belong. */
function populate(people: number, each: number, replies: number, text: (i: number) => string): void {
  const pick = random(people * 7919 + each);
  users = Array.from({ length: people }, (_, i) => ({ id: i + 1, name: i % 7 === 3 ? null : text(i) }));
  posts = Array.from({ length: people * each }, (_, i) => ({
    ...{ id: 1 + i * 3, user_id: 1 + (i % people), editor_id: i % 3 === 0 ? null : 1 + pick.int(people) },
    title: text(i + 5),
  }));
  comments = Array.from({ length: posts.length * replies }, (_, i) => ({
    ...{ id: i + 1, post_id: (posts[(i * 31) % posts.length] as Post).id },
    body: i % 5 === 4 ? null : text(i + 9),
  }));
  fill();
}

const KINDS = [
  "",
  "x",
  "12345678",
  "123456789",
  'a "quote" and a \\',
  "\u0000\u001f\n",
  "é",
  "日本語の本文",
  "🏮 lamp",
  "\ud800",
];
const mixed = (i: number): string => (KINDS[i % KINDS.length] as string).repeat(1 + (i % 4));
const plain = (i: number): string => `a text with the number ${i}`.slice(0, i % 40);

test.each([
  ["plain", plain],
  ["mixed", mixed],
])("three levels with %s texts", (_, text) => {
  populate(60, 7, 3, text);
  const wanted = users.map((user) => ({
    ...user,
    posts: postsOf(user).map((post) => ({
      title: post.title,
      comments: commentsOf(post).map(({ id, body }) => ({ body, id })),
      id: post.id,
    })),
  }));
  expect(ask("users { id name posts: posts_by_user { title comments { body id } id } }")).toEqual(wanted);
});

test("a row, none, and what is inside of it, over more rows than are looked at ahead", () => {
  populate(50, 20, 2, mixed);
  const editedBy = ({ id }: User) => byId(posts.filter(({ editor_id }) => editor_id === id));
  const editorOf = (post: Post) => {
    const editor = users.find(({ id }) => id === post.editor_id);
    if (editor === undefined) return null;
    return {
      name: editor.name,
      posts: postsOf(editor).slice(1, 4).map(only),
      edited: editedBy(editor).slice(0, 1).map(only),
    };
  };
  const wanted = comments.slice(0, 1000).map((comment) => {
    const post = posts.find(({ id }) => id === comment.post_id) as Post;
    return { post: { editor: editorOf(post), title: post.title }, id: comment.id };
  });
  const editor = `editor { name posts: posts_by_user(limit: 3, offset: 1) { id } edited: posts_by_editor(limit: 1) { id } }`;
  expect(ask(`comments(limit: 1000) { post { ${editor} title } id }`)).toEqual(wanted);
});

test("orders, conditions and limits inside lists, backwards and from a cursor", () => {
  populate(40, 12, 4, plain);
  const inside = (user: User) => ({
    id: user.id,
    posts: postsOf(user)
      .filter(({ editor_id }) => editor_id !== null)
      .toSorted((a, b) => (a.title < b.title ? 1 : a.title > b.title ? -1 : b.id - a.id))
      .slice(2, 5)
      .map((post) => ({ id: post.id, comments: commentsOf(post).slice(0, 2).map(only) })),
  });
  const fields = `{ id posts: posts_by_user(editor_id IS NOT NULL, order: title desc, limit: 3, offset: 2) { id comments(limit: 2) { id } } }`;
  expect(ask(`users(order: id desc) ${fields}`)).toEqual(users.toReversed().map(inside));
  const first = queries.run(store, `users(limit: 15) ${fields}`, EVERYTHING, "");
  expect(JSON.parse(first.json.toString())).toEqual(users.slice(0, 15).map(inside));
  expect(ask(`users(limit: 15, after: "${first.cursor}") ${fields}`)).toEqual(users.slice(15, 30).map(inside));
});

test("as many rows as an answer may have, and one more", () => {
  users = Array.from({ length: 1000 }, (_, i) => ({ id: i + 1, name: null }));
  posts = Array.from({ length: 99_000 }, (_, i) => ({
    ...{ id: i + 1, user_id: 1 + (i % 1000), editor_id: null, title: "" },
  }));
  fill();
  const query = "users(limit: 1000) { id posts: posts_by_user { id } }";
  const count = () => (ask(query) as { posts: unknown[] }[]).reduce((sum, { posts: of }) => sum + 1 + of.length, 0);
  expect(count()).toBe(QUERY_LIMITS.rows);
  const table = store.tables[engine.shape.tables.findIndex(({ name }) => name === "posts")] as Table;
  table.put([100_000, 7, null, ""]);
  expect(count).toThrow(expect.objectContaining({ code: "answer_too_long" }));
  table.remove([100_000]);
  expect(count()).toBe(QUERY_LIMITS.rows);
  expect(ask("users(id = 7) { id }")).toEqual([{ id: 7 }]);
});

test("a list inside a row has its most rows, and is an error beyond", () => {
  users = [1, 2, 3].map((id) => ({ id, name: null }));
  posts = Array.from({ length: 100 }, (_, i) => ({ id: i + 1, user_id: 2, editor_id: null, title: "" }));
  fill();
  const query = "users { posts: posts_by_user { id } }";
  const wanted = [{ posts: [] }, { posts: posts.map(only) }, { posts: [] }];
  expect(ask(query)).toEqual(wanted);
  const table = store.tables[engine.shape.tables.findIndex(({ name }) => name === "posts")] as Table;
  table.put([101, 2, null, ""]);
  expect(() => ask(query)).toThrow(expect.objectContaining({ code: "nested_list_too_long" }));
  expect(ask("users { posts: posts_by_user(limit: 100) { id } }")).toEqual(wanted);
});

test("the memory of an answer grows before, in and after a row and the lists in it", () => {
  for (const letter of ["x", "é", '"'])
    for (const length of [1, 20_000, 90_000, 300_000]) {
      [users, posts, comments] = [[], [], []];
      store = engine.createStore();
      populate(4, 3, 2, (i) => `${i} ${letter.repeat(length)}`);
      const wanted = users.map((user) => ({
        ...{ first: user.name, posts: postsOf(user).map(({ title, id }) => ({ title, id })), last: user.name },
      }));
      expect(ask("users { first: name posts: posts_by_user { title id } last: name }")).toEqual(wanted);
    }
});

test("rows are found wherever their keys lie, as many as there are", () => {
  const pick = random(11);
  const spread: ((i: number) => number)[] = [
    (i) => i * 1000,
    (i) => i * i,
    (i) => (i < 1990 ? i : 2_000_000_000 + i),
    (i) => (i % 2 === 0 ? -i : 2_147_000_000 - i * 7),
    (i) => pick.int(50) * 1e6 + i,
  ];
  for (const id of spread) {
    store = engine.createStore();
    users = Array.from({ length: 2000 }, (_, i) => ({ id: id(i) | 0, name: null }));
    posts = users.map((user, i) => ({ id: i, user_id: user.id, editor_id: null, title: "" })).reverse();
    comments = [];
    fill();
    for (let i = 0; i < 2000; i += 20) {
      const some = users.slice(i, i + 20);
      const query = `users(id IN (${some.map((user) => user.id).join(", ")})) { id posts: posts_by_user { id } }`;
      const wanted = some.map((user) => ({ id: user.id, posts: [{ id: users.indexOf(user) }] }));
      expect(ask(query)).toEqual(byId(wanted));
      expect(ask(`users(id = ${(some[0] as User).id + 0.5}) { id }`)).toEqual([]);
    }
  }
});

test("places are given up to a most, and kept only as far as queries usually want them", () => {
  const found = new FoundRows().begin();
  const usual = found.rows.length;
  found.rows[5] = 7;
  expect(found.room(10, 1_000_000).length).toBeGreaterThanOrEqual(1_000_010);
  expect(found.rows[5]).toBe(7);
  expect(() => found.room(1_000_010, MOST_PLACES)).toThrow(expect.objectContaining({ code: "answer_too_long" }));
  expect(found.begin().rows.length).toBe(usual);
});
