/** So many failures at once, one more with every `refillMs`; each beyond makes the answers that follow wait as much longer. */
type Pace = { burst: number; refillMs: number };

const ADDRESS: Pace = { burst: 20, refillMs: 1_000 };
/** Of all addresses together. Higher: whoever guesses must not make the owner's own slips slow at once. */
const ROLE: Pace = { burst: 100, refillMs: 250 };
/** Well within the time that a login has, so that the refusal is still said. */
const WAIT_MOST_MS = 5_000;
const KNOWN_MOST = 10_000;

/**
 * Slows wrong passwords down, per address and per role: after a burst of them, refusals wait in line. Only refusals: a right password is never
 * slowed down, and nobody is locked out, neither by a neighbour behind the same address nor by a stranger who knows a role's name. Roles that
 * do not exist are slowed down alike, so that nothing is learned from it.
 */
export class Throttle {
  readonly #addresses: Line;
  readonly #roles: Line;

  constructor(now = () => performance.now()) {
    this.#addresses = new Line(ADDRESS, now);
    this.#roles = new Line(ROLE, now);
  }

  /** Notes a failure; answers how long to wait before saying so, ms. */
  failed(address: string, role: string): number {
    return Math.max(this.#addresses.failed(address), this.#roles.failed(role));
  }
}

class Line {
  readonly #pace: Pace;
  readonly #now: () => number;
  /** When all failures of each will have been worked off, the longest unheard first. */
  readonly #clear = new Map<string, number>();

  constructor(pace: Pace, now: () => number) {
    this.#pace = pace;
    this.#now = now;
  }

  failed(key: string): number {
    const { burst, refillMs } = this.#pace;
    const now = this.#now();
    const most = now + burst * refillMs + WAIT_MOST_MS;
    const clear = Math.min(Math.max(this.#clear.get(key) ?? now, now) + refillMs, most);
    this.#clear.delete(key);
    this.#clear.set(key, clear);
    if (this.#clear.size > KNOWN_MOST) this.#clear.delete(this.#clear.keys().next().value as string);
    return Math.max(0, clear - burst * refillMs - now);
  }
}
