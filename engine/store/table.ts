import type { Cell, Cells } from "./cell.ts";
import type { OrderedRows } from "./ordered-rows.ts";

/**
 * What every generated table can do. Besides, it has its columns and indexes as fields: `c0`, `i0` and so on (engine/store/column-code.ts,
 * engine/build/table-code.ts). Rows 0 and 1 are never rows: values that are looked for are put there.
 */
export interface Table {
  /** Rows that are kept. */
  live: number;
  /** The row after the last one that was ever used. */
  end: number;
  /** Rows that were, and may be used again. */
  free: number[];
  /** By primary key, or by row where there is none. */
  readonly i0: OrderedRows;
  /** A row as the source prints it, without looking whether its key is known. Then `finish`. */
  append(cells: Cells): void;
  finish(): void;
  /** A row as it is now: a new one, or in place of the one with the same key. */
  put(cells: Cells): void;
  /** The row with these values in its key. Whether it was there. */
  remove(cells: Cells): boolean;
  /** Texts of a source to cells. */
  read(texts: readonly (string | null | undefined)[]): Cells;
  /** The row with this key as cells; null when there is none. */
  cellsOf(key: Cells): Cell[] | null;
  bytes(): number;
  /** What a checkpoint keeps. */
  dump(): Record<string, unknown>;
  restore(dump: Record<string, unknown>): void;
}

/** The tables, in the order of the shape: `t0`, `t1` … */
export type Store = { readonly tables: Table[]; [name: `t${number}`]: Table };

export const FIRST_ROW = 2;
