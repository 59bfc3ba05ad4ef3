const MOST = 200_000;

/** Remembers what was said once, for as long as it could be said again. */
export class Nonces {
  readonly #keptMs: number;
  readonly #seen = new Map<string, number>();

  constructor(keptMs: number) {
    this.#keptMs = keptMs;
  }

  /** False when it is known already, or when there is no room to remember it: what cannot be remembered must not be acted on. */
  add(nonce: string, now: number = Date.now()): boolean {
    for (const [old, at] of this.#seen) {
      if (now - at <= this.#keptMs) break;
      this.#seen.delete(old);
    }
    if (this.#seen.has(nonce) || this.#seen.size >= MOST) return false;
    this.#seen.set(nonce, now);
    return true;
  }
}
