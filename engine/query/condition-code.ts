import type { Check, Hop } from "../../query/plan.ts";
import { type IndexPlan, indexesOf, indexOn } from "../build/indexes.ts";
import { codesOf } from "../build/table-code.ts";
import type { Shape } from "../shape/shape.ts";
import type { ColumnCode } from "../store/column-code.ts";

/** What code is made of that reads rows: the columns and indexes of each table. */
export class ShapeCode {
  readonly shape: Shape;
  readonly indexes: IndexPlan[][];
  readonly #columns: ColumnCode[][];

  constructor(shape: Shape) {
    this.shape = shape;
    this.indexes = indexesOf(shape);
    this.#columns = shape.tables.map(codesOf);
  }

  column(table: number, place: number): ColumnCode {
    return this.#columns[table]?.[place] as ColumnCode;
  }

  indexFor(table: number, columns: readonly number[]): number {
    return indexOn(this.indexes[table] as IndexPlan[], columns);
  }
}

const OPPOSITE = { "=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<" } as const;

/**
 * Conditions as expressions of JavaScript. Logic has three values: an expression is asked either whether a condition is true, or whether it is
 * false; where a value is null it is neither.
 */
export class ConditionCode {
  readonly shape: ShapeCode;
  /** Functions that the expressions call. */
  readonly functions: string[] = [];
  readonly #made = new Set<string>();
  readonly #parameter: (place: number) => string;

  /** @param parameter an expression for the value at a place of the parameters */
  constructor(shape: ShapeCode, parameter: (place: number) => string) {
    this.shape = shape;
    this.#parameter = parameter;
  }

  /** @param t @param row names of variables */
  holds(check: Check, table: number, t: string, row: string, wanted = true): string {
    switch (check.kind) {
      case "and":
      case "or": {
        const joined = (check.kind === "and") === wanted ? " && " : " || ";
        return `(${check.parts.map((part) => this.holds(part, table, t, row, wanted)).join(joined)})`;
      }
      case "not":
        return this.holds(check.part, table, t, row, !wanted);
      case "some":
        return `${wanted ? "" : "!"}${this.#some(check.hop, check.part)}(${row})`;
      default:
        return this.#onColumn(check, table, t, row, wanted);
    }
  }

  #onColumn(check: Check & { column: number }, table: number, t: string, row: string, wanted: boolean): string {
    const column = this.shape.column(table, check.column);
    const present = column.isPresent(t, row);
    if (check.kind === "null") return wanted ? column.isNull(t, row) : present;
    return `(${present} && ${this.#onValue(check, column, t, row, wanted)})`;
  }

  #onValue(check: Check, column: ColumnCode, t: string, row: string, wanted: boolean): string {
    const value = column.value(t, row);
    const not = wanted ? "" : "!";
    const isText = column.type.kind === "decimal" && !column.isScaled;
    if (check.kind === "like") return `${not}${this.#parameter(check.pattern)}.matches(${value})`;
    if (check.kind === "in") {
      const values = this.#parameter(check.values);
      if (isText) return `${not}${values}.some((each) => compareDecimal(each, ${value}) === 0)`;
      return column.isWide ? `${not}${values}.some((each) => each == ${value})` : `${not}${values}.has(${value})`;
    }
    if (check.kind !== "compare") throw new Error(`${check.kind} is not a condition on a value`);
    const operator = wanted ? check.operator : OPPOSITE[check.operator];
    const parameter = this.#parameter(check.value);
    if (isText) return `compareDecimal(${value}, ${parameter}) ${operator === "=" ? "===" : operator} 0`;
    // Numbers and bigints are equal by == only.
    if (operator === "=")
      return `${value} ${column.isWide || column.type.kind === "integer" ? "==" : "==="} ${parameter}`;
    if (operator === "!=")
      return `${value} ${column.isWide || column.type.kind === "integer" ? "!=" : "!=="} ${parameter}`;
    return `${value} ${operator} ${parameter}`;
  }

  /** A function: whether some row that the hop leads to meets the condition. */
  #some(hop: Hop, part: Check | null): string {
    const place = this.functions.push("") - 1;
    const name = `some${place}`;
    const inside = part === null ? "true" : this.holds(part, hop.table, `t${hop.table}`, "r");
    const probe = this.probe(hop, "row", "return false;");
    this.functions[place] =
      hop.kind === "one"
        ? `function ${name}(row) { ${probe}
  const r = ${this.find(hop.table, this.index(hop))}();
  return r >= 0 && ${inside};
}`
        : `function ${name}(row) { ${probe}
  ${this.range(hop.table, this.index(hop))}
  ${loop(`if (${inside}) return true;`)}
  return false;
}`;
    return name;
  }

  index(hop: Hop): number {
    return this.shape.indexFor(hop.table, hop.references);
  }

  /** Statements: what is looked for on the other side goes to its row 0. `none` is done where there cannot be any. */
  probe(hop: Hop, row: string, none: string): string {
    const [u, t] = [`t${hop.from}`, `t${hop.table}`];
    const pairs = hop.columns.map((place, i) => {
      const own = this.shape.column(hop.from, place);
      const other = this.shape.column(hop.table, hop.references[i] as number);
      const isNull = own.isNull(u, row);
      const narrow =
        other.storage === "Int32Array" && own.isWide ? `(${own.raw(u, row)} | 0) !== ${own.raw(u, row)}` : "false";
      const guards = [isNull, narrow].filter((each) => each !== "false");
      return `${guards.length === 0 ? "" : `if (${guards.join(" || ")}) ${none}`} ${other.copy(t, "0", u, row, own)}`;
    });
    return pairs.join("\n  ");
  }

  /** Statements that set `index`, `b`, `i`, `lastBlock`, `lastOffset` to where the rows are that equal row 0. */
  range(table: number, index: number): string {
    return `const index = t${table}.i${index};
  ${this.#seek(table, index)}(index); let b = index.block, i = index.offset;
  ${this.#pass(table, index)}(index); const lastBlock = index.block, lastOffset = index.offset;`;
  }

  /** An expression: the row that equals row 0; -1 where there is none. */
  find(table: number, index: number): string {
    return this.#once(`find${table}_${index}`, (name) => {
      const seek = this.#seek(table, index);
      return `function ${name}() {
  const index = t${table}.i${index}; ${seek}(index);
  const rows = index.blocks[index.block], at = index.offset;
  if (rows === undefined || at >= index.counts[index.block]) return -1;
  const r = rows[at];
  return ${this.#compare(table, index, "r")} === 0 ? r : -1;
}`;
    });
  }

  /** As OrderedRows.seek does it: to the first row that is not before row 0. There every comparison is a call. */
  #seek(table: number, index: number): string {
    const block = (at: string) => `const r = blocks[${at}][counts[${at}] - 1];`;
    return this.#once(
      `seek${table}_${index}`,
      (name) => `function ${name}(index) {
  const { blocks, counts } = index;
  let low = 0, high = blocks.length;
  ${this.#guess(table, index, block, 2)}
  while (low < high) {
    const middle = (low + high) >>> 1; ${block("middle")}
    if (${this.#compare(table, index, "r")} < 0) low = middle + 1; else high = middle;
  }
  index.block = low; index.offset = 0;
  if (low === blocks.length) return;
  const rows = blocks[low];
  index.offset = ${this.#within(table, index)}(rows, counts[low]);
}`,
    );
  }

  /** A function: the place in one block of the first row that is not before row 0. */
  #within(table: number, index: number): string {
    const row = (at: string) => `const r = rows[${at}];`;
    return this.#once(
      `within${table}_${index}`,
      (name) => `function ${name}(rows, high) {
  let low = 0;
  ${this.#guess(table, index, row, 4)}
  while (low < high) {
    const middle = (low + high) >>> 1; ${row("middle")}
    if (${this.#compare(table, index, "r")} < 0) low = middle + 1; else high = middle;
  }
  return low;
}`,
    );
  }

  /**
   * Statements that bring `low` and `high` nearer to each other: where values lie as far apart as their places, the place is told by the value.
   * Whether it was told rightly is seen by comparing on both sides of it.
   */
  #guess(table: number, index: number, row: (at: string) => string, near: number): string {
    const { columns } = (this.shape.indexes[table] as IndexPlan[])[index] as IndexPlan;
    const column = columns.length === 0 ? null : this.shape.column(table, columns[0] as number);
    if (column === null || (column.storage !== "Int32Array" && column.storage !== "Float64Array")) return "";
    const value = (at: string) => `{ ${row(at)} at = ${column.raw(`t${table}`, "r")}; }`;
    const narrow = `${row("place")} if (${this.#compare(table, index, "r")} < 0) low = place + 1; else high = place;`;
    return `if (high > ${8 * near}) {
    let at = 0;
    const last = high - 1;
    ${value("0")} const first = at;
    ${value("last")} const guess = Math.max(0, Math.min(last, (${column.raw(`t${table}`, "0")} - first) / (at - first) * last)) | 0;
    if (guess >= ${near}) { const place = guess - ${near}; ${narrow} }
    if (low <= guess && guess + ${near} < high) { const place = guess + ${near}; ${narrow} }
  }`;
  }

  /** From where `seek` ended to the first row that is after row 0. Mostly it is near. */
  #pass(table: number, index: number): string {
    return this.#once(
      `pass${table}_${index}`,
      (name) => `function ${name}(index) {
  const { blocks, counts } = index;
  let b = index.block, i = index.offset;
  for (let steps = 0; steps < ${NEAR}; steps++, i++) {
    while (b < blocks.length && i === counts[b]) { b++; i = 0; }
    if (b === blocks.length) break;
    const r = blocks[b][i];
    if (${this.#compare(table, index, "r")} > 0) break;
    if (steps === ${NEAR - 1}) return index.seek(0, t${table}.q${index}, true);
  }
  index.block = b; index.offset = i;
}`,
    );
  }

  #compare(table: number, index: number, row: string): string {
    const { columns } = (this.shape.indexes[table] as IndexPlan[])[index] as IndexPlan;
    const parts = columns.map((place) => this.shape.column(table, place).compare(`t${table}`, row, "0"));
    return parts.length === 0 ? `(${row} - 0)` : `(${parts.join(" || ")})`;
  }

  /** A function that several expressions may call. */
  #once(name: string, code: (name: string) => string): string {
    if (!this.#made.has(name)) {
      this.#made.add(name);
      this.functions.push(code(name));
    }
    return name;
  }
}

/** Rows that are looked at one by one before they are searched. */
const NEAR = 16;

/** Goes through the rows of `index` from `b`, `i` on; `r` is the row. */
export const loop = (body: string): string => `const { blocks, counts } = index;
  scan: for (; b <= lastBlock && b < blocks.length; b++, i = 0) {
    const rows = blocks[b], n = b === lastBlock ? lastOffset : counts[b];
    for (; i < n; i++) {
      const r = rows[i];
      if (--X.fuel === 0) X.refuel();
      ${body}
    }
  }`;

/** The same from the last row to the first. */
export const loopBack = (body: string): string => `const { blocks, counts } = index;
  scan: for (let z = Math.min(lastBlock, blocks.length), k = z === blocks.length ? 0 : lastOffset; ; ) {
    if (k === 0) {
      if (z <= b) break;
      k = counts[--z];
      continue;
    }
    if (z < b || (z === b && k <= i)) break;
    const r = blocks[z][--k];
    if (--X.fuel === 0) X.refuel();
    ${body}
  }`;

/** An expression for a constant. */
export function constantCode(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Set) return `new Set([${[...value].map(constantCode).join(", ")}])`;
  if (Array.isArray(value)) return `[${value.map(constantCode).join(", ")}]`;
  if (typeof value === "object" && value !== null && "insensitive" in value && "text" in value)
    return `new LikePattern(${JSON.stringify(value.text)}, ${value.insensitive})`;
  if (typeof value === "number") return Object.is(value, -0) ? "0" : String(value);
  return JSON.stringify(value);
}
