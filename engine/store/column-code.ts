import type { ColumnType } from "../../contract/source-schema.ts";
import { isScaled } from "../../query/literal.ts";

/**
 * How one column is stored, as pieces of code: both the tables of an engine and its queries are made of them. In a table `t`, column `i` is
 * `t.c<i>`; `t.n<i>` flags its nulls, `t.b<i>` has the integers beyond 2^53, `t.p<i>` says that every text in it is plain: ASCII that JSON does not escape.
 *
 * The names in the code (`wide`, `compareWide` …) are those of engine/store/cell.ts and query/cell.ts.
 */
export type Storage = "Int32Array" | "Float64Array" | "Float32Array" | "Uint8Array" | "Array";
/** How null is told from a value. */
type Nulls = "never" | "flag" | "NaN" | "two" | "lowest" | "null";

export class ColumnCode {
  readonly place: number;
  readonly type: ColumnType;
  readonly storage: Storage;
  readonly nulls: Nulls;

  constructor(place: number, type: ColumnType, nullable: boolean) {
    this.place = place;
    this.type = type;
    this.storage = storageOf(type);
    this.nulls = this.storage === "Array" ? "null" : nullable ? nullsOf(type) : "never";
  }

  get isFlagged(): boolean {
    return this.nulls === "flag";
  }

  get isWide(): boolean {
    return this.type.kind === "bigint";
  }

  /** Strings that are answered as JSON strings. */
  get isText(): boolean {
    return this.type.kind === "text" || this.type.kind === "enum";
  }

  get isScaled(): boolean {
    return isScaled(this.type);
  }

  /** Statements that read what writing the value will read, and add something of it to `seen`. */
  look(t: string, row: string): string {
    const raw = this.raw(t, row);
    if (this.storage !== "Array") return `seen += ${raw} | 0;`;
    return `{ const text = ${raw}; if (text !== null && text.length > 0) seen += text.charCodeAt(text.length - 1); }`;
  }

  /** The value as it is stored: meaningless where it is null. */
  value(t: string, row: string): string {
    return this.isWide ? `wide(${t}.b${this.place}, ${t}.c${this.place}, ${row})` : this.raw(t, row);
  }

  raw(t: string, row: string): string {
    return `${t}.c${this.place}[${row}]`;
  }

  isNull(t: string, row: string): string {
    const raw = this.raw(t, row);
    switch (this.nulls) {
      case "never":
        return "false";
      case "flag":
        return `${t}.n${this.place}[${row}] === 1`;
      case "NaN":
        return `${raw} !== ${raw}`;
      case "two":
        return `${raw} === 2`;
      case "lowest":
        return `${raw} === -2147483648`;
      case "null":
        return `${raw} === null`;
    }
  }

  isPresent(t: string, row: string): string {
    const raw = this.raw(t, row);
    switch (this.nulls) {
      case "never":
        return "true";
      case "flag":
        return `${t}.n${this.place}[${row}] === 0`;
      case "NaN":
        return `${raw} === ${raw}`;
      case "two":
        return `${raw} !== 2`;
      case "lowest":
        return `${raw} !== -2147483648`;
      case "null":
        return `${raw} !== null`;
    }
  }

  /** A statement. `value` is the name of a variable with a cell. */
  set(t: string, row: string, value: string): string {
    const at = `${t}.c${this.place}`;
    switch (this.nulls) {
      case "never":
        return `if (${value} === null) nullInside(${this.place}); ${this.#store(t, row, value)}`;
      case "flag":
        return `if (${value} === null) { ${t}.n${this.place}[${row}] = 1; ${at}[${row}] = 0; } else { ${t}.n${this.place}[${row}] = 0; ${at}[${row}] = ${value}; }`;
      case "NaN":
        return this.isWide
          ? `if (${value} === null) { ${at}[${row}] = NaN; ${t}.b${this.place}.delete(${row}); } else { ${this.#store(t, row, value)} }`
          : `${at}[${row}] = ${value} === null ? NaN : ${value};`;
      case "two":
        return `${at}[${row}] = ${value} === null ? 2 : ${value};`;
      case "lowest":
        return `${at}[${row}] = ${value} === null ? -2147483648 : ${value};`;
      case "null":
        return this.#store(t, row, value);
    }
  }

  #store(t: string, row: string, value: string): string {
    if (this.isWide) return `storeWide(${t}.b${this.place}, ${t}.c${this.place}, ${row}, ${value});`;
    if (this.isText)
      return `${t}.c${this.place}[${row}] = ${value};${isProbe(row) ? "" : ` if (${t}.p${this.place} && ${value} !== null && !isPlain(${value})) ${t}.p${this.place} = false;`}`;
    return `${t}.c${this.place}[${row}] = ${value};`;
  }

  /** A statement: row `from` of `u` to row `to` of `t`. The other column is stored the same way, or is an integer of another width. */
  copy(t: string, to: string, u: string, from: string, other: ColumnCode): string {
    const both = this.isWide && other.isWide;
    const flags = this.isFlagged
      ? `${t}.n${this.place}[${to}] = ${other.isFlagged ? `${u}.n${other.place}[${from}]` : 0}; `
      : "";
    if (both) return `${flags}storeWide(${t}.b${this.place}, ${t}.c${this.place}, ${to}, ${other.value(u, from)});`;
    return `${flags}${this.raw(t, to)} = ${other.raw(u, from)};`;
  }

  /** An expression like `a - b`: of two rows of `t`. Nulls come first. */
  compare(t: string, a: string, b: string): string {
    const [x, y] = [this.raw(t, a), this.raw(t, b)];
    const values = this.#compareValues(t, a, b, x, y);
    if (this.nulls === "never" || this.nulls === "lowest") return values;
    const [nullA, nullB] = [this.isNull(t, a), this.isNull(t, b)];
    return `(${nullA} ? (${nullB} ? 0 : -1) : ${nullB} ? 1 : ${values})`;
  }

  #compareValues(t: string, a: string, b: string, x: string, y: string): string {
    if (this.isWide) return `(${x} - ${y} || compareWide(${t}.b${this.place}, ${t}.c${this.place}, ${a}, ${b}))`;
    if (this.type.kind === "decimal" && !this.isScaled) return `compareDecimal(${x}, ${y})`;
    if (
      this.storage === "Array" ||
      this.type.kind === "datetime" ||
      this.type.kind === "date" ||
      this.type.kind === "float"
    )
      return `(${x} < ${y} ? -1 : ${x} > ${y} ? 1 : 0)`;
    return `(${x} - ${y})`;
  }

  /** An expression: the cell of the text that a source sends. `value` is the name of a variable with a string. */
  fromText(value: string): string {
    const { type } = this;
    switch (type.kind) {
      case "integer":
        return `+${value}`;
      case "bigint":
        return `wideFromText(${value})`;
      case "float":
        return `floatFromText(${value})`;
      case "decimal":
        return this.isScaled ? `Math.round(+${value} * ${10 ** (type.scale ?? 0)})` : value;
      case "boolean":
        return `booleanFromText(${value})`;
      case "bytes":
        return `bytesFromText(${value})`;
      case "datetime":
        return `dateTimeFromText(${value})`;
      case "date":
        return `dateFromText(${value})`;
      case "time":
        return `timeFromText(${value})`;
      case "text":
      case "enum":
      case "set":
      case "json":
        return value;
    }
  }
}

/** Rows 0 and 1 have what is looked for. It is never answered. */
const isProbe = (row: string): boolean => row === "0" || row === "1";

function storageOf(type: ColumnType): Storage {
  switch (type.kind) {
    case "integer":
    case "date":
      return "Int32Array";
    case "boolean":
      return "Uint8Array";
    case "float":
      return type.single ? "Float32Array" : "Float64Array";
    case "bigint":
    case "datetime":
    case "time":
      return "Float64Array";
    case "decimal":
      return isScaled(type) ? "Float64Array" : "Array";
    case "text":
    case "enum":
    case "set":
    case "json":
    case "bytes":
      return "Array";
  }
}

function nullsOf(type: ColumnType): Nulls {
  if (type.kind === "integer" || type.kind === "float") return "flag";
  if (type.kind === "date") return "lowest";
  return type.kind === "boolean" ? "two" : "NaN";
}
