import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import type { List, Plan } from "../../query/plan.ts";
import { rootAccess } from "./access-code.ts";
import { ConditionCode, loop, loopBack, type ShapeCode } from "./condition-code.ts";
import { type JsonCode, jsonCode, piecesCode } from "./json-code.ts";

/**
 * The code of one query: functions of rows of these very tables. It reads `P` (the values of the query's literals) and `X` (what the query has
 * used up), and writes the answer as JSON to `A`. A list at the root also leaves in `X` whether there is more, and its last row.
 */
export function queryCode(shape: ShapeCode, plan: Plan): string {
  return new QueryCode(shape).query(plan);
}

class QueryCode {
  readonly #shape: ShapeCode;
  readonly #conditions: ConditionCode;
  readonly #functions: string[] = [];

  constructor(shape: ShapeCode) {
    this.#shape = shape;
    this.#conditions = new ConditionCode(shape, (place) => `P[${place}]`);
  }

  query({ lists, batch }: Plan): string {
    const made = lists.map(({ name, list }, i) => ({
      before: batch ? `${i === 0 ? "{" : ","}${JSON.stringify(name)}:` : "",
      code: `${this.#list(list)}();`,
    }));
    const answer = made.map(({ before, code }) => `${run([before])} ${code}`).join("\n  ");
    const tables = this.#shape.shape.tables.map((_, i) => `t${i}`).join(", ");
    return `"use strict";
let S, P, X, A, ${tables};
${[...this.#functions, ...this.#conditions.functions].join("\n")}
return (store, parameters, spent, bytes) => {
  P = parameters; X = spent; A = bytes;
  if (S !== store) ({ ${tables} } = S = store);
  try { ${answer} ${batch ? run(["}"]) : ""} } finally { X = P = A = null; }
};`;
  }

  /** The name of a function that writes the rows of a list, given the row above. */
  #list(list: List): string {
    const name = `list${this.#functions.length}`;
    const place = this.#functions.push("") - 1;
    this.#functions[place] = `function ${name}(row) {${list.via?.kind === "one" ? this.#one(list) : this.#many(list)}}`;
    return name;
  }

  #one(list: List): string {
    const { table, via } = list;
    if (via === null) throw new Error("the root has no row above it");
    const index = this.#conditions.index(via);
    return `
  ${this.#conditions.probe(via, "row", `{ ${run(["null"])} return; }`)}
  const r = ${this.#conditions.find(table, index)}();
  if (r < 0 || !(${this.#where(list)})) { ${run(["null"])} return; }
  if (++X.rows > ${QUERY_LIMITS.rows}) X.tooManyRows();
  ${this.#row(list, "")}
`;
  }

  #many(list: List): string {
    const { table, via, order } = list;
    const isRoot = via === null;
    const most = isRoot ? QUERY_LIMITS.rootRows : QUERY_LIMITS.nestedRows;
    const limit = list.limit === null ? most : `P[${list.limit}]`;
    const access = isRoot ? rootAccess(this.#shape, this.#conditions, list) : null;
    const isOrdered = access === null ? order.length > 0 : !access.inOrder;
    // More than a nested list may have is an error, unless the query said how many it wants.
    const beyond =
      isRoot || list.limit !== null
        ? isRoot
          ? "X.more = true; break scan;"
          : "break scan;"
        : `X.tooLong(${JSON.stringify(via.name)});`;
    const emit = `if (++X.rows > ${QUERY_LIMITS.rows}) X.tooManyRows();
      ${isRoot ? "X.last = r;" : ""}
      ${this.#row(list, ",")}`;
    const skip = list.after === null || !isOrdered ? "" : `if (order(r, 1) <= 0) continue;`;
    const body = isOrdered
      ? `${skip} if (${this.#where(list)}) {
        found.push(r);
        if (found.length >= most) { found.sort(order); found.length = wanted; }
      }`
      : `if (!(${this.#where(list)})) continue;
      if (skip > 0) { skip--; continue; }
      if (left-- === 0) { ${beyond} }
      ${emit}`;
    const start = `
  ${list.after === null ? "" : this.#cursor(list, list.after)}
  let left = ${limit}, skip = ${list.offset === null ? 0 : `P[${list.offset}]`};
  ${via === null ? access?.code : `${this.#conditions.probe(via, "row", `{ ${run(["[]"])} return; }`)} ${this.#conditions.range(table, this.#conditions.index(via))}`}`;
    if (!isOrdered) return `${start}\n  ${OPEN}\n  ${access?.backwards ? loopBack(body) : loop(body)}\n  ${CLOSE}\n`;
    return `${start}
  const order = (a, b) => ${this.#order(list)};
  const found = [], wanted = skip + left + 1, most = Math.max(4096, 2 * wanted);
  ${loop(body)}
  found.sort(order);
  ${OPEN}
  scan: for (let at = skip; at < found.length; at++) {
    const r = found[at];
    if (left-- === 0) { ${beyond} }
    ${emit}
  }
  ${CLOSE}
`;
  }

  /** Statements: the values that a cursor goes on from go to row 1. */
  #cursor(list: List, after: number): string {
    const t = `t${list.table}`;
    const columns = cursorColumns(this.#shape, list);
    const sets = columns.map((place, i) => {
      const column = this.#shape.column(list.table, place);
      return `{ const value = cells[${i}]; ${column.set(t, "1", "value")} }`;
    });
    return `{ const cells = X.readCursor(P[${after}]); ${sets.join(" ")} }`;
  }

  #order({ table, order }: List): string {
    // Rows that are the same in this go the way of its last field, so that an index can be gone through backwards.
    const last = order.at(-1)?.descending ?? false;
    const key = (this.#shape.shape.tables[table]?.key ?? []).map((column) => ({ column, descending: last }));
    const parts = [...order, ...key].map(({ column, descending }) => {
      const code = this.#shape.column(table, column).compare(`t${table}`, "a", "b");
      return descending ? `-${code}` : code;
    });
    return key.length > 0 ? parts.join(" || ") : `${parts.join(" || ")} || ${last ? "b - a" : "a - b"}`;
  }

  #where({ table, where }: List): string {
    return where === null ? "true" : this.#conditions.holds(where, table, `t${table}`, "r");
  }

  /** Statements that write row `r`. What is next to each other is written at once; a list inside writes itself. */
  #row(list: List, after: string): string {
    let code = "";
    let values: (string | JsonCode)[] = [];
    list.fields.forEach((field, i) => {
      values.push(`${i === 0 ? "{" : ","}${JSON.stringify(field.name)}:`);
      if (field.kind === "column") {
        values.push(jsonCode(this.#shape.column(list.table, field.column), `t${list.table}`, "r", `v${i}`));
        return;
      }
      code += `${run(values)} ${this.#list(field.list)}(r);\n`;
      values = [];
    });
    return `${code}${run([...values, `}${after}`])}`;
  }
}

const OPEN = run(["["]);
/** After the last row there is a comma. */
const CLOSE = `if (A.bytes[A.at - 1] === 44) A.at--; ${run(["]"])}`;

/** Statements that make room and write. */
function run(values: readonly (string | JsonCode)[]): string {
  const codes = values.filter((each) => typeof each !== "string");
  const constant = values.reduce((sum, each) => sum + (typeof each === "string" ? Buffer.byteLength(each) : 2), 0);
  if (constant === 0) return "";
  const declared = codes.map(({ declare }) => declare).join(" ");
  const room = [constant, ...codes.map(({ room }) => room)].join(" + ");
  const pieces = values.flatMap((each) => (typeof each === "string" ? [each] : each.pieces));
  return `{ ${declared} const o = A.room(${room}); let k = A.at; ${piecesCode(pieces)} A.at = k; }`;
}

/** What says where a row is in its list: what it is ordered by, and its key. */
export function cursorColumns(shape: ShapeCode, { table, order }: List): number[] {
  const key = shape.shape.tables[table]?.key ?? [];
  return [...new Set([...order.map(({ column }) => column), ...key])];
}
