import { WRITER_LEASE_MS } from "../contract/writer.ts";
import { WRITER_LEASE_MARGIN_MS } from "../contract/writer-task.ts";

/** What the writer has counts from when it asked; here it counts from when that was heard, which is later, and a margin: clocks do not run alike. */
const COUNTED_MS = WRITER_LEASE_MS + WRITER_LEASE_MARGIN_MS;

export type LeaseLeft = { term: number; left_ms: number };

/**
 * Until when a writer of one database may go on on this keeper's word. Kept in memory: a keeper that was started a moment ago may have given it a
 * moment before, so it says that it has. Times are ms of a clock that is never set.
 */
export class WriterLease {
  readonly #startedAt: number;
  #given: { term: number; until: number } | null = null;

  constructor(startedAt: number) {
    this.#startedAt = startedAt;
  }

  /** Only for the term that was promised: from the promise of a later one on nothing more is given for this one. */
  give(term: number, promised: number, now: number): boolean {
    if (term !== promised) return false;
    this.#given = { term, until: now + COUNTED_MS };
    return true;
  }

  /** How long a writer of this term, or a lower one, may still go on. */
  left(promised: number, now: number): LeaseLeft | null {
    const given = this.#given !== null && this.#given.until > now ? this.#given : null;
    const young = this.#startedAt + COUNTED_MS - now;
    const term = Math.max(given?.term ?? 0, young > 0 ? promised - 1 : 0);
    if (term <= 0) return null;
    return { term, left_ms: Math.ceil(Math.max(young, (given?.until ?? 0) - now)) };
  }
}
