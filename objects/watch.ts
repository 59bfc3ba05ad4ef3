/**
 * Callers that wait for the next change of an object, in memory only: a caller whose object is evicted asks again. Whoever waits keeps the
 * object awake; nobody waiting costs nothing.
 */
export class Watchers {
  #waiting = new Set<() => void>();

  /** Wakes everyone. Call it after each commit that wrote to the journal. */
  notify(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Resolves at the next change, or after `ms`, or when `called` off. */
  next(ms: number, called?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      const waiting = this.#waiting;
      function done(): void {
        clearTimeout(timer);
        waiting.delete(done);
        resolve();
      }
      waiting.add(done);
      called?.addEventListener("abort", done, { once: true });
    });
  }
}
