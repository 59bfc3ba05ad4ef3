// A text that was asked before is not read again: its plan and the values of its literals are known. Its answer is made anew.
import { beforeAll, beforeEach, expect, test } from "vitest";
import { EVERYTHING, type Scope } from "../../engine/query/check.ts";
import { parseFilter } from "../../engine/query/parser.ts";
import { PLANS_KEPT, Queries, TEXT_KEPT_LENGTH, TEXTS_KEPT } from "../../engine/query/queries.ts";
import type { Store, Table } from "../../engine/store/table.ts";
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
/** How many texts are read meanwhile. */
const reads = (run: () => void): number => {
  const before = queries.read;
  run();
  return queries.read - before;
};
const one = (id: number): string => `notes(id = ${id}) { id }`;

test("a text is read once, and says what the rows say now", () => {
  const text = 'notes(text LIKE "%2" OR id IN (1, 9)) { id text }';
  expect(reads(() => expect(ask(text)).toEqual([1, 2].map((id) => ({ id, text: `note ${id}` }))))).toBe(1);
  const table = store.tables[0] as Table;
  table.put([9, 1, "new"]);
  table.put([1, 1, "changed"]);
  table.remove([2]);
  const now = [
    { id: 1, text: "changed" },
    { id: 9, text: "new" },
  ];
  expect(reads(() => expect(ask(text)).toEqual(now))).toBe(0);
  // All rows were read again.
  store = made.storeOf([{ id: 9, owner: 1, text: "another store" }]);
  expect(reads(() => expect(ask(text)).toEqual([{ id: 9, text: "another store" }]))).toBe(0);
});

test("a text of two keys is two texts", () => {
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

test("so many texts are known, the oldest goes, and long ones are not kept", () => {
  for (let id = 0; id < TEXTS_KEPT; id++) ask(one(id));
  const again = () => {
    for (let id = 0; id < TEXTS_KEPT; id++) ask(one(id));
  };
  expect(reads(again)).toBe(0);
  expect(reads(() => ask(one(TEXTS_KEPT)))).toBe(1);
  expect(reads(() => ask(one(1)))).toBe(0);
  expect(reads(() => expect(ask(one(0))).toEqual([]))).toBe(1);
  const long = `${one(3)}${" ".repeat(TEXT_KEPT_LENGTH)}`;
  for (let round = 0; round < 2; round++) expect(reads(() => expect(ask(long)).toEqual([{ id: 3 }]))).toBe(1);
});

test("a text whose plan is no longer kept is compiled again", () => {
  ask(one(2));
  for (let i = 0; i < PLANS_KEPT; i++) ask(`notes(id = 1) { a${i}: id }`);
  const before = queries.compiled;
  for (let round = 0; round < 2; round++) expect(ask(one(2))).toEqual([{ id: 2 }]);
  expect(queries.compiled).toBe(before + 1);
});
