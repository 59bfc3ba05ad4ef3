import type { ColumnCode } from "../store/column-code.ts";

/**
 * How a value is written as JSON to the bytes `o` from `k` on. The names in the code (`writeText`, `renderDate` …) are those of
 * engine/query/answer-bytes.ts and engine/store/render.ts.
 */
export type JsonCode = {
  /** Statements that come before. */
  declare: string;
  /** The most bytes that it takes, but for what is the same for all rows: a number, or an expression that goes by the value. */
  room: number | string;
  pieces: Piece[];
};

/** What is the same for all rows, or statements that write and move `k`. */
export type Piece = string | { code: string };

/** How the value is written as JSON. @param name of a variable that it may declare */
export function jsonCode(column: ColumnCode, t: string, row: string, name: string): JsonCode {
  const code = presentCode(column, t, row, name);
  const isNull = column.isNull(t, row);
  if (isNull === "false") return code;
  return {
    declare: code.declare,
    room: typeof code.room === "number" ? code.room : `(${isNull} ? 4 : ${code.room})`,
    pieces: [{ code: `if (${isNull}) { ${storesCode("null")} } else { ${piecesCode(code.pieces)} }` }],
  };
}

function presentCode(column: ColumnCode, t: string, row: string, name: string): JsonCode {
  const raw = column.raw(t, row);
  const { type, place } = column;
  switch (type.kind) {
    case "integer":
      return short(`writeNumber(o, k, ${raw})`);
    case "bigint":
      return short(`writeShort(o, k, renderWide(${t}.b${place}, ${t}.c${place}, ${row}))`);
    case "float":
      return short(`writeShort(o, k, ${type.single ? "renderSingle" : "renderDouble"}(${raw}))`);
    case "decimal":
      if (column.isScaled) return short(`writeShort(o, k, renderScaled(${raw}, ${type.scale}))`);
      return quoted(name, raw, `${name}.length`, `writeAscii(o, k, ${name})`);
    case "boolean":
      return {
        declare: "",
        room: 5,
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

/** The most bytes that a number, a date or a time takes. */
const SHORT = 48;

const short = (at: string): JsonCode => ({ declare: "", room: SHORT, pieces: [{ code: `k = ${at};` }] });

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
