/** A change that comes sooner than this after the one before waits until so much time is over, ms. */
const APART_MS = 8;

type Waiting = { work: (now: number) => void; done: () => void; fail: (error: unknown) => void };

/**
 * Makes one change of many that come close together: each change is a write that has to reach the disk, and a hundred endpoints share one. The
 * first is made at once; under load, those that come meanwhile are made with the next.
 */
export class Gathering {
  readonly #change: (work: (now: number) => void) => void;
  #waiting: Waiting[] = [];
  #isPlanned = false;
  #lastAt = 0;

  /** @param change makes one change as one transaction */
  constructor(change: (work: (now: number) => void) => void) {
    this.#change = change;
  }

  /** Resolves when the change is made. It rejects together with those that it was gathered with, and then none of them is made. */
  add(work: (now: number) => void): Promise<void> {
    return new Promise((done, fail) => {
      this.#waiting.push({ work, done, fail });
      if (this.#isPlanned) return;
      const since = Date.now() - this.#lastAt;
      if (since < 0 || since >= APART_MS) return this.#run();
      this.#isPlanned = true;
      setTimeout(() => this.#run(), APART_MS - since);
    });
  }

  #run(): void {
    const all = this.#waiting;
    this.#waiting = [];
    this.#isPlanned = false;
    this.#lastAt = Date.now();
    try {
      this.#change((now) => {
        for (const { work } of all) work(now);
      });
    } catch (error) {
      for (const { fail } of all) fail(error);
      return;
    }
    for (const { done } of all) done();
  }
}
