import type { ColumnType } from "../../contract/source-schema.ts";

/**
 * How one column is stored, as pieces of code: both the tables of an engine and its queries are made of them. In a table `t`, column `i` is
 * `t.c<i>`; `t.n<i>` flags its nulls, `t.b<i>` has the integers beyond 2^53, `t.p<i>` says that every text in it is plain: ASCII that JSON does not escape.
 *
 * The names in the code (`wide`, `writeText`, `renderDate` …) are those of engine/store/cell.ts, engine/store/render.ts and engine/query/answer-bytes.ts.
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
    return this.type.kind === "decimal" && this.storage === "Float64Array";
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

  /** How the value is written as JSON. @param name of a variable that it may declare */
  json(t: string, row: string, name: string): JsonCode {
    const code = this.#json(t, row, name);
    const isNull = this.isNull(t, row);
    if (isNull === "false") return code;
    return {
      declare: code.declare,
      room: code.room === String(SHORT) ? code.room : `(${isNull} ? 4 : ${code.room})`,
      pieces: [{ code: `if (${isNull}) { ${storesCode("null")} } else { ${piecesCode(code.pieces)} }` }],
    };
  }

  #json(t: string, row: string, name: string): JsonCode {
    const raw = this.raw(t, row);
    const { type, place } = this;
    switch (type.kind) {
      case "integer":
        return short(`writeNumber(o, k, ${raw})`);
      case "bigint":
        return short(`writeShort(o, k, renderWide(${t}.b${place}, ${t}.c${place}, ${row}))`);
      case "float":
        return short(`writeShort(o, k, ${type.single ? "renderSingle" : "renderDouble"}(${raw}))`);
      case "decimal":
        if (this.isScaled) return short(`writeShort(o, k, renderScaled(${raw}, ${type.scale}))`);
        return quoted(name, raw, `${name}.length`, `writeAscii(o, k, ${name})`);
      case "boolean":
        return {
          declare: "",
          room: "5",
          pieces: [{ code: `if (${raw} === 1) { ${storesCode("true")} } else { ${storesCode("false")} }` }],
        };
      case "text":
      case "enum": {
        const isPlain = `${t}.p${place}`;
        const room = `${name}.length * (${isPlain} ? 1 : 6)`;
        return quoted(name, raw, room, `${isPlain} ? writeAscii(o, k, ${name}) : writeText(o, k, ${name})`);
      }
      case "set":
        return whole(name, `${raw} === null ? "" : renderSet(${raw})`);
      case "json":
        return whole(name, raw);
      case "bytes":
        return quoted(name, raw, `${name}.length`, `writeAscii(o, k, ${name})`);
      case "datetime":
        return short(`writeShort(o, k, renderDateTime(${raw}, ${type.zoned}))`);
      case "date":
        return short(`writeShort(o, k, renderDate(${raw}))`);
      case "time":
        return short(`writeShort(o, k, renderTime(${raw}))`);
    }
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

/** How a value is written as JSON to the bytes `o` from `k` on. */
export type JsonCode = {
  /** Statements that come before. */
  declare: string;
  /** An expression: the most bytes that it takes, but for what is the same for all rows. */
  room: string;
  pieces: Piece[];
};

/** What is the same for all rows, or statements that write and move `k`. */
export type Piece = string | { code: string };

/** The most bytes that a number, a date or a time takes. */
const SHORT = 48;

const short = (at: string): JsonCode => ({ declare: "", room: String(SHORT), pieces: [{ code: `k = ${at};` }] });

const whole = (name: string, text: string): JsonCode => ({
  declare: `const ${name} = ${text};`,
  room: `${name}.length * 3`,
  pieces: [{ code: `k = writeUtf8(o, k, ${name});` }],
});

const quoted = (name: string, text: string, room: string, at: string): JsonCode => ({
  declare: `const ${name} = ${text};`,
  room,
  pieces: ['"', { code: `k = ${at};` }, '"'],
});

/** What is the same for all rows is written byte by byte up to so many bytes in all: V8 does not compile functions that are too long. */
const BYTE_BY_BYTE = 512;

/** Statements that write the pieces, one after the other. */
export function piecesCode(pieces: readonly Piece[]): string {
  let code = "";
  let constant = "";
  const bytes = pieces.reduce((sum, piece) => sum + (typeof piece === "string" ? Buffer.byteLength(piece) : 0), 0);
  const bytesCode = bytes > BYTE_BY_BYTE ? textCode : storesCode;
  for (const piece of pieces) {
    if (typeof piece === "string") constant += piece;
    else {
      code += bytesCode(constant) + piece.code;
      constant = "";
    }
  }
  return code + bytesCode(constant);
}

const textCode = (text: string): string => (text === "" ? "" : `k = writeUtf8(o, k, ${JSON.stringify(text)}); `);

function storesCode(text: string): string {
  const bytes = Buffer.from(text);
  const stores = [...bytes].map((byte, i) => `o[k${i === 0 ? "" : ` + ${i}`}] = ${byte};`).join(" ");
  return bytes.length === 0 ? "" : `${stores} k += ${bytes.length}; `;
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
      // As many digits as a double has exactly: the number is kept without its point.
      return type.precision !== null && type.precision <= 15 && type.scale !== null ? "Float64Array" : "Array";
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
