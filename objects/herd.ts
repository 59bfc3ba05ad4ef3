/**
 * After a restart, every alarm that was due meanwhile rings at once, and thousands of objects at work at the same moment keep a request
 * waiting for many seconds. So an alarm that rings long after its time takes a place in a line, unless the line is short.
 */

/** An alarm that rings later than this is one of a herd, or might be, ms. */
const LATE_MS = 5_000;
/** How far apart they go on, ms; so many go on at once. */
const INTERVAL_MS = 8;
const AT_ONCE = 25;
/** Nobody waits longer than about this, ms: a longer line is spread over it by chance. */
const LONGEST_MS = 9_000;

export class Herd {
  /** The place that was given out last: a moment, ms since 1970. */
  #place = 0;

  /** How long an alarm that was due at `dueAt` has to wait; 0: it goes on. `chance` is 0..1. */
  delay(dueAt: number, now: number, chance: number): number {
    if (now - dueAt <= LATE_MS) return 0;
    // A place further off was given out before the clock was set back.
    if (this.#place > now + LONGEST_MS + INTERVAL_MS) this.#place = 0;
    const next = Math.max(this.#place, now - AT_ONCE * INTERVAL_MS) + INTERVAL_MS;
    if (next > now + LONGEST_MS) return Math.ceil(chance * LONGEST_MS);
    this.#place = next;
    return Math.max(0, next - now);
  }
}
