/** Who waits for rows to be as new as they want. */
export class Arrivals {
  readonly #waiting = new Set<() => void>();

  /** Something has come. */
  tell(): void {
    for (const look of this.#waiting) look();
  }

  /** Whether it is so, now or within so many ms; looked at whenever something comes. */
  async until(withinMs: number, stopped: AbortSignal, isSo: () => boolean): Promise<boolean> {
    const end = performance.now() + withinMs;
    while (!isSo()) {
      const left = end - performance.now();
      if (left <= 0 || stopped.aborted) return false;
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer);
          this.#waiting.delete(done);
          stopped.removeEventListener("abort", done);
          resolve();
        };
        const timer = setTimeout(done, left);
        this.#waiting.add(done);
        stopped.addEventListener("abort", done);
      });
    }
    return true;
  }
}
