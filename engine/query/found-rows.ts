/** Rows of which the memory is kept from one query to the next. */
const KEPT = 64 * 1024;

/**
 * The rows that one query has found, of all its lists, each list behind the one around it. Generated code calls it `F`
 * (engine/query/find-code.ts).
 */
export class FoundRows {
  rows: Int32Array = new Int32Array(KEPT);
  /** Where the next one goes. */
  end = 0;

  begin(): this {
    this.end = 0;
    if (this.rows.length > KEPT) this.rows = new Int32Array(KEPT);
    return this;
  }

  /** The rows, with at least so many more places from `end` on. */
  room(end: number, more: number): Int32Array {
    if (end + more > this.rows.length) {
      const next = new Int32Array(2 * (end + more));
      next.set(this.rows);
      this.rows = next;
    }
    return this.rows;
  }
}
