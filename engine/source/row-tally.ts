import type { LoadProgress } from "./source.ts";

const ROWS = 4096;
const SIZE = 8 * 1024 * 1024;

/** Says how many rows were read, after so many of them or so much of them: a few large ones fill the memory too, and it is looked at then. */
export class RowTally {
  readonly #progress: Pick<LoadProgress, "rows">;
  #rows = 0;
  #size = 0;

  constructor(progress: Pick<LoadProgress, "rows">) {
    this.#progress = progress;
  }

  /** So much of a row was read. */
  read(size: number): void {
    this.#size += size;
  }

  /** A row was taken. */
  row(): void {
    if (++this.#rows >= ROWS || this.#size >= SIZE) this.tell();
  }

  tell(): void {
    const rows = this.#rows;
    this.#rows = 0;
    this.#size = 0;
    this.#progress.rows(rows);
  }
}
