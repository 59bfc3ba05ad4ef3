/** Waits for what a full set has sent away: calls back with its revision when the last of that is gone. A later full set takes its place. */
export class Settling {
  readonly #settled: (revision: number) => void;
  #revision: number | null = null;
  #stale = new Set<string>();

  constructor(settled: (revision: number) => void) {
    this.#settled = settled;
  }

  await(revision: number, stale: readonly { id: string; generation: number }[]): void {
    this.#revision = revision;
    this.#stale = new Set(stale.map(({ id, generation }) => keyOf(id, generation)));
    this.#check();
  }

  gone(id: string, generation: number): void {
    this.#stale.delete(keyOf(id, generation));
    this.#check();
  }

  #check(): void {
    if (this.#revision === null || this.#stale.size > 0) return;
    const revision = this.#revision;
    this.#revision = null;
    this.#settled(revision);
  }
}

const keyOf = (id: string, generation: number): string => `${id} ${generation}`;
