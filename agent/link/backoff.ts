const LEAST_MS = 50;
const MOST_MS = 5_000;

/** Between attempts: a random moment between 50 ms and a bound that doubles up to 5 s, so that a thousand agents do not come back at once. */
export class Backoff {
  #attempt = 0;
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  next(): number {
    const most = Math.min(MOST_MS, LEAST_MS * 2 ** this.#attempt++);
    return LEAST_MS + Math.round(this.#random() * (most - LEAST_MS));
  }

  reset(): void {
    this.#attempt = 0;
  }
}
