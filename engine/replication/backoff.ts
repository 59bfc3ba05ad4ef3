/** Waits between attempts: longer each time, with jitter so that many engines of one source do not come at once. */
export class Backoff {
  readonly #first: number;
  readonly #most: number;
  #next: number;

  constructor(first: number, most: number) {
    this.#first = first;
    this.#most = most;
    this.#next = first;
  }

  reset(): void {
    this.#next = this.#first;
  }

  /** Milliseconds. */
  next(): number {
    const wait = this.#next * (0.75 + Math.random() / 2);
    this.#next = Math.min(this.#most, this.#next * 2);
    return wait;
  }
}

/** Until then, or until the signal: it does not fail. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
  });
}
