import { WRITER_LEASE_MS } from "../contract/writer.ts";
import { WRITER_LEASE_MARGIN_MS } from "../contract/writer-task.ts";

/** What the writer has counts from when it asked; here it counts from when that was heard, which is later, and a margin: clocks do not run alike. */
const COUNTED_MS = WRITER_LEASE_MS + WRITER_LEASE_MARGIN_MS;

/**
 * Until when a writer of one database may go on on this keeper's word. Kept in memory: a keeper that was started a moment ago may have given it a
 * moment before, so it says that it has. Times are ms of a clock that is never set.
 */
export class WriterLease {
  #until: number;

  constructor(startedAt: number) {
    this.#until = startedAt + COUNTED_MS;
  }

  /** Only for the term that was promised: from the promise of a later one on nothing more is given for this one. */
  give(term: number, promised: number, now: number): boolean {
    if (term !== promised) return false;
    this.#until = Math.max(this.#until, now + COUNTED_MS);
    return true;
  }

  /** How long a writer, of whatever term, may still go on. */
  leftMs(now: number): number {
    return Math.max(0, Math.ceil(this.#until - now));
  }
}
