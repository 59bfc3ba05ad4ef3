import { QueryProblem } from "../../query/problem.ts";
import type { LiteralValue } from "../../query/syntax.ts";
import type { Cell } from "../store/cell.ts";
import type { ColumnCode } from "../store/column-code.ts";

/** Where a list goes on: the values of the last row, and what they are values of, so that no other list takes them. */
export function writeCursor(of: string, cells: readonly Cell[]): string {
  const text = JSON.stringify([of, ...cells.map(written)]);
  return Buffer.from(text).toString("base64url");
}

export function readCursor(of: string, columns: readonly ColumnCode[], literal: LiteralValue): Cell[] {
  const wrong = (why: string) => new QueryProblem("invalid_cursor", `after: ${why}`, { at: literal.at });
  let cells: unknown;
  try {
    cells = JSON.parse(Buffer.from(literal.text, "base64url").toString("utf8"));
  } catch {
    throw wrong("this is not a cursor that was given out here");
  }
  if (!Array.isArray(cells)) throw wrong("this is not a cursor that was given out here");
  if (cells[0] !== of) throw wrong("this cursor is of another table or another order");
  if (cells.length !== columns.length + 1) throw wrong("this is not a cursor that was given out here");
  return columns.map((column, i) => {
    const cell = read(cells[i + 1]);
    const isText = column.storage === "Array";
    if (cell === undefined || (cell === null ? column.nulls === "never" : (typeof cell === "string") !== isText))
      throw wrong("this is not a cursor that was given out here");
    return cell;
  });
}

const written = (cell: Cell): unknown =>
  typeof cell === "bigint" || (typeof cell === "number" && !Number.isFinite(cell)) ? { is: String(cell) } : cell;

function read(value: unknown): Cell | undefined {
  if (value === null || typeof value === "string" || typeof value === "number") return value;
  if (typeof value !== "object" || !("is" in value) || typeof value.is !== "string") return undefined;
  if (/^-?\d{1,20}$/.test(value.is)) return BigInt(value.is);
  return /^-?Infinity$/.test(value.is) ? Number(value.is) : undefined;
}
