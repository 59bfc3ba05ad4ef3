// The plan of a query that was asked before is kept; its answer is made anew.
import { beforeAll, beforeEach, expect, test } from "vitest";
import { PLANS_KEPT, Queries } from "../../engine/query/queries.ts";
import type { Store, Table } from "../../engine/store/table.ts";
import { EVERYTHING, type Scope } from "../../query/check.ts";
import { parseFilter } from "../../query/parser.ts";
import { type Note, notesEngine } from "./notes.ts";

const NOTES: Note[] = [1, 2, 3, 4].map((id) => ({ id, owner: id % 2, text: `note ${id}` }));
let made: Awaited<ReturnType<typeof notesEngine>>;
let queries: Queries;
let store: Store;

beforeAll(async () => {
  made = await notesEngine();
});
beforeEach(() => {
  queries = new Queries(made.engine.shape);
  store = made.storeOf(NOTES);
});

const ask = (text: string, scope: Scope = EVERYTHING, scopeKey = ""): unknown =>
  JSON.parse(queries.run(store, text, scope, scopeKey).json.toString());
test("an answer says what the rows say now", () => {
  const text = 'notes(text LIKE "%2" OR id IN (1, 9)) { id text }';
  expect(ask(text)).toEqual([1, 2].map((id) => ({ id, text: `note ${id}` })));
  const table = store.tables[0] as Table;
  table.put([9, 1, "new"]);
  table.put([1, 1, "changed"]);
  table.remove([2]);
  expect(ask(text)).toEqual([
    { id: 1, text: "changed" },
    { id: 9, text: "new" },
  ]);
  // All rows were read again.
  store = made.storeOf([{ id: 9, owner: 1, text: "another store" }]);
  expect(ask(text)).toEqual([{ id: 9, text: "another store" }]);
  expect(queries.compiled).toBe(1);
});

test("a query of two keys is two queries", () => {
  const of = (owner: number): Scope => ({ tables: null, rows: new Map([["notes", parseFilter(`owner = ${owner}`)]]) });
  const none: Scope = { tables: new Set(), rows: new Map() };
  const text = "notes { id }";
  for (let round = 0; round < 3; round++) {
    expect(ask(text)).toHaveLength(4);
    expect(ask(text, of(0), "even")).toEqual([{ id: 2 }, { id: 4 }]);
    expect(ask(text, of(1), "odd")).toEqual([{ id: 1 }, { id: 3 }]);
    expect(() => ask(text, none, "none")).toThrow(/not for the table/);
  }
});

test("a cursor is looked at each time, and a text that is wrong is wrong each time", () => {
  const { cursor } = queries.run(store, "notes(limit: 1) { id }", EVERYTHING, "");
  for (let round = 0; round < 2; round++) {
    expect(ask(`notes(limit: 2, after: "${cursor}") { id }`)).toEqual([{ id: 2 }, { id: 3 }]);
    expect(() => ask(`notes(order: text, after: "${cursor}") { id }`)).toThrow(/another order/);
    expect(() => ask('notes(id = "x") { id }')).toThrow(expect.objectContaining({ at: 11 }));
    expect(() => ask("notes(limit: 1001) { id }")).toThrow(expect.objectContaining({ code: "limit_exceeded" }));
  }
});

test("so many plans are kept, and those of them that were used last", () => {
  const two = "notes(id = 2) { id }";
  const others = (from: number, count: number) => {
    for (let i = from; i < from + count; i++) ask(`notes(id = 1) { a${i}: id }`);
  };
  ask(two);
  others(0, PLANS_KEPT - 1);
  ask(two);
  others(PLANS_KEPT, PLANS_KEPT - 1);
  const before = queries.compiled;
  expect(ask(two)).toEqual([{ id: 2 }]);
  expect(queries.compiled).toBe(before);
  others(2 * PLANS_KEPT, PLANS_KEPT);
  for (let round = 0; round < 2; round++) expect(ask(two)).toEqual([{ id: 2 }]);
  expect(queries.compiled).toBe(before + PLANS_KEPT + 1);
});
