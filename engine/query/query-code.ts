import type { Field, List, Plan } from "../../query/plan.ts";
import { ConditionCode, type ShapeCode } from "./condition-code.ts";
import { FindCode } from "./find-code.ts";
import { type JsonCode, jsonCode, piecesCode } from "./json-code.ts";

/**
 * The code of one query: functions of rows of these very tables. It reads `P` (the values of the query's literals) and `X` (what the query has
 * used up), and writes the answer as JSON to `A`. A list at the root also leaves in `X` whether there is more, and its last row.
 *
 * First the rows of all lists are found, level by level (engine/query/find-code.ts), and then written, one inside the other: what is to be read
 * of many rows is known before it is wanted, so that the processor fetches it from memory side by side.
 */
export function queryCode(shape: ShapeCode, plan: Plan): string {
  return new QueryCode(shape).query(plan);
}

class QueryCode {
  readonly #shape: ShapeCode;
  readonly #conditions: ConditionCode;
  readonly #find: FindCode;
  readonly #functions: string[] = [];
  #lists = 0;

  constructor(shape: ShapeCode) {
    this.#shape = shape;
    this.#conditions = new ConditionCode(shape, (place) => `P[${place}]`);
    this.#find = new FindCode(shape, this.#conditions);
  }

  query({ lists, batch }: Plan): string {
    const made = lists.map(({ name, list }, i) => {
      const n = this.#list(list);
      const before = batch ? `${i === 0 ? "{" : ","}${JSON.stringify(name)}:` : "";
      return `${run([before])} level${n}(); write${n}(0);`;
    });
    const tables = this.#shape.shape.tables.map((_, i) => `t${i}`).join(", ");
    const places = Array.from({ length: this.#lists }, (_, n) => `e${n} = 0, f${n} = 0, l${n} = 0, s${n} = 0`).join(
      ", ",
    );
    return `"use strict";
let S, P, X, A, F, ${tables};
let ${places};
${[...this.#functions, ...this.#conditions.functions].join("\n")}
return (store, parameters, spent, bytes, found) => {
  P = parameters; X = spent; A = bytes; F = found;
  if (S !== store) ({ ${tables} } = S = store);
  try { ${made.join("\n  ")} ${batch ? run(["}"]) : ""} } finally { X = P = A = F = null; }
};`;
  }

  /** Functions for a list and those inside; its number. */
  #list(list: List): number {
    const n = this.#lists++;
    const inside = new Map<Field, number>();
    for (const field of list.fields) if (field.kind === "list") inside.set(field, this.#list(field.list));
    const row = this.#row(list, n, inside, list.via?.kind === "one" ? "" : ",");
    const fetch = this.#fetch(list, n);
    const ahead = fetch === "" ? "" : `if (q === s${n}) fetch${n}(q);`;
    const write =
      list.via?.kind === "one"
        ? `
  const q = F.rows[e${n} + p];
  if (q < 0) { ${run(["null"])} return; }
  const r = F.rows[q];
  ${ahead}
  ${row}`
        : `
  const found = F.rows, end = found[e${n} + p + 1];
  ${OPEN}
  for (let q = found[e${n} + p]; q < end; q++) {
    const r = found[q];
    if (--X.fuel === 0) X.refuel();
    ${ahead}
    ${row}
  }
  ${CLOSE}`;
    const first = fetch === "" || inside.size === 0 ? "" : `fetch${n}(f${n});`;
    const find = this.#find.level(list, n, [...inside.values()], first);
    this.#functions.push(`${find}\n${fetch}\nfunction write${n}(p) {${write}\n}`);
    return n;
  }

  /** A function that looks at the next rows of a list, so that what they have is near once it is wanted. */
  #fetch(list: List, n: number): string {
    const columns = list.fields.flatMap((field) =>
      field.kind === "column" ? [field.column] : (field.list.via?.columns ?? []),
    );
    if (columns.length === 0) return "";
    const looks = [...new Set(columns)].map((column) =>
      this.#shape.column(list.table, column).look(`t${list.table}`, "r"),
    );
    return `function fetch${n}(q) {
  const found = F.rows, end = Math.min(q + ${AHEAD}, l${n});
  let seen = 0;
  for (; q < end; q++) {
    const r = found[q];
    ${looks.join(" ")}
  }
  s${n} = end;
  X.seen = seen;
}`;
  }

  /** Statements that write row `r`. What is next to each other is written at once; a list inside writes itself. */
  #row(list: List, n: number, inside: ReadonlyMap<Field, number>, after: string): string {
    let code = "";
    let values: (string | JsonCode)[] = [];
    list.fields.forEach((field, i) => {
      values.push(`${i === 0 ? "{" : ","}${JSON.stringify(field.name)}:`);
      if (field.kind === "column") {
        values.push(jsonCode(this.#shape.column(list.table, field.column), `t${list.table}`, "r", `v${i}`));
        return;
      }
      code += `${run(values)} write${inside.get(field)}(q - f${n});\n`;
      values = [];
    });
    return `${code}${run([...values, `}${after}`])}`;
  }
}

/** Rows that are looked at before the first of them is written. */
const AHEAD = 256;

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
