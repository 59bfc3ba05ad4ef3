import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import { answerTooLong } from "./answer-bytes.ts";

/** Places of which the memory is kept from one query to the next. */
const KEPT = 64 * 1024;
/** Each is for a row, a list or a null of the answer, which take more bytes than this. */
const BYTES_OF_PLACE = 4;
export const MOST_PLACES: number = Math.ceil(QUERY_LIMITS.answerBytes / BYTES_OF_PLACE);

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
    const wanted = end + more;
    if (wanted > this.rows.length) {
      if (wanted > MOST_PLACES) throw answerTooLong();
      const next = new Int32Array(Math.ceil(1.5 * wanted));
      next.set(this.rows);
      this.rows = next;
    }
    return this.rows;
  }
}
