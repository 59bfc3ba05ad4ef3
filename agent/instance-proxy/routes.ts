import type { RouteTarget } from "../../contract/route.ts";
import type { InstanceRoute } from "./message.ts";

/** A route that changes goes for a moment: for so long its callers wait for the other, ms. */
const WITHDRAWN_MS = 2_000;
/** One that has just been started is told its routes by then, ms. */
const TOLD_WITHIN_MS = 5_000;
/** More would only fill the memory. */
const MOST_WAITING = 256;

/** One instance as the proxy knows it now. */
export class Entry {
  route: InstanceRoute;
  /** Null while it is routed. */
  withdrawnAt: number | null = null;
  readonly #waiting = new Set<() => void>();

  constructor(route: InstanceRoute) {
    this.route = route;
  }

  get isFull(): boolean {
    return this.#waiting.size >= MOST_WAITING;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Resolves at the next change, when the time is over, or when the caller has gone. */
  async change(withinMs: number, gone: AbortSignal): Promise<void> {
    if (gone.aborted || withinMs <= 0) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        gone.removeEventListener("abort", wake);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, withinMs);
      gone.addEventListener("abort", wake);
      this.#waiting.add(wake);
    });
  }

  wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

/** The instances of this host. */
export class Routes {
  readonly #entries = new Map<string, Entry>();
  readonly #told = Promise.withResolvers<void>();
  /** @param kept told which engines may still be asked something */
  readonly #kept: (targets: RouteTarget[]) => void;

  constructor(kept: (targets: RouteTarget[]) => void) {
    this.#kept = kept;
  }

  get size(): number {
    return [...this.#entries.values()].filter(({ withdrawnAt }) => withdrawnAt === null).length;
  }

  find(instanceId: string): Entry | null {
    return this.#entries.get(instanceId) ?? null;
  }

  /** As `find`; before it was told any routes it does not know which there are, and waits for that. */
  async findOnceTold(instanceId: string): Promise<Entry | null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, TOLD_WITHIN_MS);
    });
    await Promise.race([this.#told.promise, late]);
    clearTimeout(timer);
    return this.find(instanceId);
  }

  /** From now on these are all. */
  replace(routes: readonly InstanceRoute[]): void {
    this.#told.resolve();
    const named = new Set(routes.map(({ instance_id }) => instance_id));
    for (const route of routes) {
      const entry = this.#entries.get(route.instance_id);
      if (entry === undefined) {
        this.#entries.set(route.instance_id, new Entry(route));
        continue;
      }
      const isSame = entry.withdrawnAt === null && JSON.stringify(entry.route) === JSON.stringify(route);
      entry.route = route;
      entry.withdrawnAt = null;
      if (!isSame) entry.wake();
    }
    for (const [id, entry] of this.#entries) {
      if (named.has(id) || entry.withdrawnAt !== null) continue;
      entry.withdrawnAt = Date.now();
      setTimeout(() => this.#forget(id, entry), WITHDRAWN_MS);
    }
    this.#tell();
  }

  #forget(id: string, entry: Entry): void {
    if (entry.withdrawnAt === null || Date.now() - entry.withdrawnAt < WITHDRAWN_MS - 100) return;
    if (this.#entries.get(id) === entry) this.#entries.delete(id);
    entry.wake();
    this.#tell();
  }

  #tell(): void {
    const routes = [...this.#entries.values()].map(({ route }) => route);
    this.#kept(routes.flatMap(({ target, loading }) => [target, loading].filter((one) => one !== null)));
  }
}
