import type { Position } from "./source.ts";

const EVERY_MS = 500;

/** Finds out by asking when all that a source had at some moment has come: a stream that is busy, or late, does not say it by itself. */
export class Probe {
  readonly #ask: () => Promise<Position>;
  readonly #compare: (a: Position, b: Position) => number;
  readonly #reached: (asOf: number) => void;
  #wanted: { position: Position; at: number } | null = null;
  #isAsking = false;
  #askedAt = 0;
  #here: Position | null = null;

  /** @param reached all that there was at that time is here */
  constructor(
    ask: () => Promise<Position>,
    compare: (a: Position, b: Position) => number,
    reached: (asOf: number) => void,
  ) {
    this.#ask = ask;
    this.#compare = compare;
    this.#reached = reached;
  }

  /** The stream has come so far. */
  isAt(here: Position): void {
    this.#here = here;
    this.#look();
    const now = Date.now();
    if (this.#isAsking || this.#wanted !== null || now - this.#askedAt < EVERY_MS) return;
    this.#isAsking = true;
    this.#askedAt = now;
    this.#ask().then(
      (position) => {
        this.#isAsking = false;
        this.#wanted = { position, at: now };
        this.#look();
      },
      () => {
        this.#isAsking = false;
      },
    );
  }

  #look(): void {
    if (this.#wanted === null || this.#here === null || this.#compare(this.#here, this.#wanted.position) < 0) return;
    const { at } = this.#wanted;
    this.#wanted = null;
    this.#reached(at);
  }
}
