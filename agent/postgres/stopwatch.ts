export type Phases = Record<string, number>;

/** What each part of a start took, ms. */
export class Stopwatch {
  readonly phases: Phases = {};
  #at = performance.now();

  lap(phase: string): void {
    const now = performance.now();
    this.phases[phase] = (this.phases[phase] ?? 0) + (now - this.#at);
    this.#at = now;
  }
}
