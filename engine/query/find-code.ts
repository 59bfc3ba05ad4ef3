import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import type { List } from "../../query/plan.ts";
import { rootAccess } from "./access-code.ts";
import { type ConditionCode, loop, loopBack, type ShapeCode } from "./condition-code.ts";

/**
 * The code that finds the rows of a list, `n` being its number in the query. `level<n>(from, to)` finds those of all rows of the list around it,
 * which are at these places of `F.rows`. It puts them side by side from `f<n>` to `l<n>`, and before them, at `e<n>`, for each row of the list
 * around it: in a list of many the place where its own rows begin, and behind the last of these where they end; in a list of one row its place, or -1.
 */
export class FindCode {
  readonly #shape: ShapeCode;
  readonly #conditions: ConditionCode;

  constructor(shape: ShapeCode, conditions: ConditionCode) {
    this.#shape = shape;
    this.#conditions = conditions;
  }

  /**
   * @param inside the numbers of the lists inside
   * @param first statements for when the rows of this list are found, and those inside are not yet looked for
   */
  level(list: List, n: number, inside: readonly number[], first: string): string {
    const next = [first, ...inside.map((each) => `level${each}(f${n}, l${n});`)].join(" ");
    if (list.via === null)
      return `function find${n}(end) {${this.#many(list)}}
function level${n}() {
  e${n} = 0; f${n} = s${n} = 2;
  F.end = l${n} = find${n}(2);
  F.rows[0] = 2; F.rows[1] = l${n};
  ${next}
}`;
    if (list.via.kind === "one")
      return `function find${n}(row) {${this.#one(list)}}
function level${n}(from, to) {
  const count = to - from, found = F.room(F.end, 2 * count);
  e${n} = F.end;
  let end = f${n} = s${n} = e${n} + count;
  for (let p = 0; p < count; p++) {
    if (--X.fuel === 0) X.refuel();
    const r = find${n}(found[from + p]);
    found[e${n} + p] = r < 0 ? -1 : end;
    if (r >= 0) found[end++] = r;
  }
  F.end = l${n} = end;
  ${next}
}`;
    return `function find${n}(row, end) {${this.#many(list)}}
function level${n}(from, to) {
  const count = to - from;
  F.room(F.end, count + 1);
  e${n} = F.end;
  let end = f${n} = s${n} = e${n} + count + 1;
  for (let p = 0; p < count; p++) {
    if (--X.fuel === 0) X.refuel();
    F.rows[e${n} + p] = end;
    end = find${n}(F.rows[from + p], end);
  }
  F.rows[e${n} + count] = F.end = l${n} = end;
  ${next}
}`;
  }

  #one(list: List): string {
    const { table, via } = list;
    if (via === null) throw new Error("the root has no row above it");
    const index = this.#conditions.index(via);
    return `
  ${this.#conditions.probe(via, "row", "return -1;")}
  const r = ${this.#conditions.find(table, index)}();
  if (r < 0 || !(${this.#where(list)})) return -1;
  if (++X.rows > ${QUERY_LIMITS.rows}) X.tooManyRows();
  return r;
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
    const keep = `if (++X.rows > ${QUERY_LIMITS.rows}) X.tooManyRows();
      ${isRoot ? "X.last = r;" : ""}
      if (end === found.length) found = F.room(end, 1);
      found[end++] = r;`;
    const skip = list.after === null || !isOrdered ? "" : `if (order(r, 1) <= 0) continue;`;
    const body = isOrdered
      ? `${skip} if (${this.#where(list)}) {
        sorted.push(r);
        if (sorted.length >= most) { sorted.sort(order); sorted.length = wanted; }
      }`
      : `if (!(${this.#where(list)})) continue;
      if (skip > 0) { skip--; continue; }
      if (left-- === 0) { ${beyond} }
      ${keep}`;
    const start = `
  ${list.after === null ? "" : this.#cursor(list, list.after)}
  let found = F.rows, left = ${limit}, skip = ${list.offset === null ? 0 : `P[${list.offset}]`};
  ${via === null ? access?.code : `${this.#conditions.probe(via, "row", "return end;")} ${this.#conditions.range(table, this.#conditions.index(via))}`}`;
    if (!isOrdered) return `${start}\n  ${access?.backwards ? loopBack(body) : loop(body)}\n  return end;\n`;
    return `${start}
  const order = (a, b) => ${this.#order(list)};
  const sorted = [], wanted = skip + left + 1, most = Math.max(4096, 2 * wanted);
  ${loop(body)}
  sorted.sort(order);
  scan: for (let at = skip; at < sorted.length; at++) {
    const r = sorted[at];
    if (left-- === 0) { ${beyond} }
    ${keep}
  }
  return end;
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
}

/** What says where a row is in its list: what it is ordered by, and its key. */
export function cursorColumns(shape: ShapeCode, { table, order }: List): number[] {
  const key = shape.shape.tables[table]?.key ?? [];
  return [...new Set([...order.map(({ column }) => column), ...key])];
}
