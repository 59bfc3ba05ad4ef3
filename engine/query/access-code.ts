import type { Check, List } from "../../query/plan.ts";
import type { Operator } from "../../query/syntax.ts";
import type { ColumnCode } from "../store/column-code.ts";
import type { ConditionCode, ShapeCode } from "./condition-code.ts";

/** Where the rows of a list at the root are looked for. */
export type Access = {
  /** Statements that set `index`, `b`, `i`, `lastBlock`, `lastOffset`, as a loop wants them. */
  code: string;
  /** Rows come in the order that is asked for. */
  inOrder: boolean;
  /** Once they are gone through from the last to the first. */
  backwards: boolean;
};

/** By an index whose values the query says; else by one that has the range or the order that it wants; else all rows, in the order of the key. */
export function rootAccess(shape: ShapeCode, conditions: ConditionCode, list: List): Access {
  const { table, where, order, after } = list;
  const t = `t${table}`;
  const plans = shape.indexes[table] ?? [];
  const column = (place: number): ColumnCode => shape.column(table, place);
  const isByKey = order.length === 0;
  const bounds = boundsOf(where);
  const equal = (place: number) => bounds.find((each) => each.column === place && each.operator === "=");
  const found = plans.findIndex(
    ({ columns }) =>
      columns.length > 0 && columns.every((place) => equal(place) !== undefined && column(place).type.kind !== "json"),
  );
  if (found >= 0) {
    const columns = plans[found]?.columns ?? [];
    const probes = columns.map((place) => probe(t, column(place), `P[${equal(place)?.value}]`));
    const goesOn = isByKey && after !== null;
    // Rows with one value of an index are in the order of the key. To go on from a cursor they are compared as wholes, with row 1.
    const rest = columns.filter((place) => !shape.shape.tables[table]?.key.includes(place));
    const copies = goesOn ? rest.map((place) => column(place).copy(t, "1", t, "0", column(place))) : [];
    const code = `${probes.join(" ")} ${conditions.range(table, found)} ${copies.join(" ")} ${goesOn ? GO_ON : ""}`;
    return { code, inOrder: isByKey, backwards: false };
  }
  const picked = after === null ? pickedByKey(shape, conditions, list) : null;
  if (picked !== null) return { code: picked, inOrder: isByKey, backwards: false };
  const [first, second] = order;
  const isSingle = (at: number) =>
    plans[at]?.columns.length === 1 && !hasOwnOrder(column(plans[at]?.columns[0] as number));
  const wanted = (place: number) => plans.findIndex(({ columns }, at) => isSingle(at) && columns[0] === place);
  const byOrder = first !== undefined && second === undefined ? wanted(first.column) : -1;
  const backwards = byOrder >= 0 && first?.descending === true;
  const bounded = isByKey ? (isSingle(0) ? 0 : -1) : bounds.map((each) => wanted(each.column)).find((at) => at >= 0);
  const chosen = byOrder >= 0 ? byOrder : (bounded ?? -1);
  const inOrder = isByKey || byOrder >= 0;
  const index = Math.max(0, chosen);
  const place = chosen < 0 ? -1 : (plans[chosen]?.columns[0] as number);
  const low = bounds.find((each) => each.column === place && (each.operator === ">" || each.operator === ">="));
  const high = bounds.find((each) => each.column === place && (each.operator === "<" || each.operator === "<="));
  const seek = (value: number, past: boolean) =>
    `${probe(t, column(place), `P[${value}]`, true)} index.seek(0, ${t}.q${index}, ${past});`;
  const code = `const index = ${t}.i${index}; let b = 0, i = 0, lastBlock = index.blocks.length, lastOffset = 0;
  ${low === undefined ? "" : `{ ${seek(low.value, false)} b = index.block; i = index.offset; }`}
  ${high === undefined ? "" : `{ ${seek(high.value, true)} lastBlock = index.block; lastOffset = index.offset; }`}
  ${inOrder && after !== null ? (backwards ? GO_BACK : GO_ON) : ""}`;
  return { code, inOrder, backwards };
}

const GO_ON = `index.seek(1, index.compare, true);
  if (index.block > b || (index.block === b && index.offset > i)) { b = index.block; i = index.offset; }`;

const GO_BACK = `index.seek(1, index.compare, false);
  if (index.block < lastBlock || (index.block === lastBlock && index.offset < lastOffset)) { lastBlock = index.block; lastOffset = index.offset; }`;

/** Statements for `key IN (…)`: an index of those rows alone, in the order of the key; null where the query does not say that. */
function pickedByKey(shape: ShapeCode, conditions: ConditionCode, { table, where }: List): string | null {
  const [place, further] = shape.shape.tables[table]?.key ?? [];
  const check = partsOf(where).find((each) => each.kind === "in" && each.column === place);
  if (place === undefined || further !== undefined || check?.kind !== "in") return null;
  const t = `t${table}`;
  return `const picked = new Set();
  for (const each of P[${check.values}]) { ${probe(t, shape.column(table, place), "each")} const r = ${conditions.find(table, 0)}(); if (r >= 0) picked.add(r); }
  const index = { blocks: [Int32Array.from(picked).sort(${t}.i0.compare)], counts: [picked.size] };
  let b = 0, i = 0; const lastBlock = 1, lastOffset = 0;`;
}

/** Enumerations are ordered by their text here; decimals as text, JSON and bytes are not looked for by range. */
const hasOwnOrder = ({ type, isScaled }: ColumnCode): boolean =>
  type.kind === "json" || type.kind === "bytes" || type.kind === "set" || (type.kind === "decimal" && !isScaled);

/** A statement: a value of the query goes to row 0. What does not fit there is cut; conditions are checked on each row that is found. */
function probe(t: string, column: ColumnCode, value: string, clamped = false): string {
  const number = `Number(${value})`;
  const fitting = clamped ? `Math.min(Math.max(${number}, -2147483648), 2147483647)` : number;
  return `{ const value = ${column.storage === "Int32Array" ? fitting : value}; ${column.set(t, "0", "value")} }`;
}

type Bound = { column: number; operator: Operator; value: number };

/** Conditions that all rows must meet. */
function partsOf(check: Check | null): Check[] {
  if (check === null) return [];
  return check.kind === "and" ? check.parts.flatMap(partsOf) : [check];
}

const boundsOf = (check: Check | null): Bound[] =>
  partsOf(check).filter((each) => each.kind === "compare" && each.operator !== "!=") as Bound[];
