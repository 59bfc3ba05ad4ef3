const BURST = 20;
const REFILL_MS = 1_000;
const DELAY_MS = 1_000;
const ADDRESSES_MOST = 10_000;

/**
 * Slows wrong passwords down, per address: after a burst of them each further refusal takes a second longer. Nobody is locked out, and a
 * right password is never slowed down.
 */
export class Throttle {
  readonly #failures = new Map<string, { left: number; at: number }>();
  readonly #now: () => number;

  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /** Notes a failure; answers how long to wait before saying so, ms. */
  failed(address: string): number {
    const now = this.#now();
    const known = this.#failures.get(address) ?? { left: BURST, at: now };
    const left = Math.min(BURST, known.left + (now - known.at) / REFILL_MS) - 1;
    this.#failures.delete(address);
    this.#failures.set(address, { left: Math.max(left, 0), at: now });
    if (this.#failures.size > ADDRESSES_MOST) this.#failures.delete(this.#failures.keys().next().value as string);
    return left < 0 ? DELAY_MS : 0;
  }
}
