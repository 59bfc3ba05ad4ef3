import { Client, Pool } from "undici";
import type { RouteTarget } from "../../contract/route.ts";

/** An engine has one thread: more connections would only wait there instead of here. */
const CONNECTIONS = 64;
const CONNECT_MS = 2_000;
/** Longer than an engine lets a query take, its wait for fresh rows included. */
const FIRST_BYTE_MS = 20_000;

const OPTIONS = {
  ...{ pipelining: 1, connect: { timeout: CONNECT_MS } },
  ...{ headersTimeout: FIRST_BYTE_MS, bodyTimeout: FIRST_BYTE_MS },
};

/** An engine, and what is under way with it. */
export class Target {
  readonly pool: Pool;
  readonly #url: string;
  readonly #idle: (() => void)[] = [];
  #running = 0;
  /** Some route leads to it. */
  isNamed = true;

  constructor({ port }: RouteTarget) {
    this.#url = `http://127.0.0.1:${port}`;
    this.pool = new Pool(this.#url, { connections: CONNECTIONS, ...OPTIONS });
  }

  /** A connection of its own, which its user closes. */
  fresh(): Client {
    return new Client(this.#url, OPTIONS);
  }

  get running(): number {
    return this.#running;
  }

  enter(): void {
    this.#running++;
  }

  leave(): void {
    this.#running--;
    if (this.#running === 0) for (const wake of this.#idle.splice(0)) wake();
  }

  /** Resolves when nothing is under way, or when the time is over. */
  async untilIdle(withinMs: number): Promise<void> {
    if (this.#running === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    await Promise.race([late, new Promise<void>((resolve) => this.#idle.push(resolve))]);
    clearTimeout(timer);
  }
}

const keyOf = ({ workload_id, generation }: Pick<RouteTarget, "workload_id" | "generation">): string =>
  `${workload_id} ${generation}`;

/** The engines that routes lead to, or led to while something is still under way there. */
export class Targets {
  readonly #targets = new Map<string, Target>();
  /** Of engines that are about to be stopped, whether anything was ever asked of them or not. */
  readonly #retired = new Set<string>();

  /** Null when it is about to be stopped. */
  get(of: RouteTarget): Target | null {
    const key = keyOf(of);
    if (this.#retired.has(key)) return null;
    let target = this.#targets.get(key);
    if (target === undefined) {
      target = new Target(of);
      this.#targets.set(key, target);
    }
    return target;
  }

  /** Nothing more goes there. Resolves when it has answered what it had, or when the time is over. */
  async retire(of: Pick<RouteTarget, "workload_id" | "generation">, withinMs: number): Promise<void> {
    const key = keyOf(of);
    this.#retired.add(key);
    const target = this.#targets.get(key);
    if (target === undefined) return;
    await target.untilIdle(withinMs);
    this.#drop(key, target);
  }

  /** Those that no route leads to any more go once nothing is under way there. */
  keep(named: readonly RouteTarget[]): void {
    const kept = new Set(named.map(keyOf));
    for (const key of this.#retired) if (!kept.has(key) && !this.#targets.has(key)) this.#retired.delete(key);
    for (const [key, target] of this.#targets) {
      target.isNamed = kept.has(key);
      if (!target.isNamed) void target.untilIdle(FIRST_BYTE_MS).then(() => target.isNamed || this.#drop(key, target));
    }
  }

  /** Whatever is still under way there is cut. */
  #drop(key: string, target: Target): void {
    if (this.#targets.get(key) === target) this.#targets.delete(key);
    void target.pool.destroy().catch(() => undefined);
  }
}
