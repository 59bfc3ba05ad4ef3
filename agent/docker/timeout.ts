import { type Engine, engineError } from "./engine.ts";
import { LABEL } from "./naming.ts";
import { stop } from "./removal.ts";
import type { Instance, Marks } from "./roster.ts";
import { type Inspected, moment } from "./sighting.ts";

const RETRY_MS = 1_000;
/** The longest that a timer of Node's can be set to. */
const TIMER_MOST_MS = 2 ** 31 - 1;

export type TimeoutsOptions = {
  engine: () => Engine;
  /** Which containers were told to stop because their time was over: written before the engine is asked, so that it is known whoever sees the end. */
  marks: Marks;
  log: (line: string) => void;
};

/**
 * Ends containers that have run for as long as they may. The limits are on the containers' own labels and count from their own start, so an agent
 * that comes back, even without its memory, goes on where the one before it was.
 */
export class Timeouts {
  readonly #options: TimeoutsOptions;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #closed = false;

  constructor(options: TimeoutsOptions) {
    this.#options = options;
  }

  /** It was seen to run. Watched already, or without a limit: nothing happens. */
  watch(instance: Instance, { State, Config }: Inspected, now: number): void {
    const limit = Number(Config.Labels[LABEL.runTimeout]);
    const { containerId } = instance;
    if (!(limit > 0) || this.#closed || this.#timers.has(containerId)) return;
    const ran = Math.max(0, now - (moment(State.StartedAt) ?? now));
    const stopTimeoutMs = Number(Config.Labels[LABEL.stopTimeout]) || 0;
    instance.gone.signal.addEventListener("abort", () => this.clear(containerId), { once: true });
    this.#set(instance, performance.now() + limit - ran, stopTimeoutMs);
  }

  /** It ended: there is nothing more to wait for. Notes whether that is our doing, because its time was over. */
  ended(instance: Instance): void {
    clearTimeout(this.#timers.get(instance.containerId));
    this.#timers.delete(instance.containerId);
    instance.timedOut ||= this.#options.marks.has(instance.containerId);
  }

  /** It is gone, or runs anew. */
  clear(containerId: string): void {
    clearTimeout(this.#timers.get(containerId));
    this.#timers.delete(containerId);
    this.#options.marks.clear(containerId);
  }

  keepOnly(containerIds: ReadonlySet<string>): void {
    this.#options.marks.keepOnly(containerIds);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #set(instance: Instance, at: number, stopTimeoutMs: number): void {
    const left = Math.max(0, at - performance.now());
    const timer = setTimeout(
      () => {
        if (left > TIMER_MOST_MS) this.#set(instance, at, stopTimeoutMs);
        else void this.#end(instance, stopTimeoutMs);
      },
      Math.min(left, TIMER_MOST_MS),
    );
    timer.unref();
    this.#timers.set(instance.containerId, timer);
  }

  async #end(instance: Instance, stopTimeoutMs: number): Promise<void> {
    const { engine, marks, log } = this.#options;
    // One that is being removed is ended by that.
    if (instance.state !== "running" || instance.intended) return;
    try {
      marks.mark(instance.containerId);
      await stop(engine(), instance.containerId, stopTimeoutMs);
    } catch (error) {
      log(`${instance.name} has run for as long as it may and could not be stopped: ${engineError(error).message}`);
    }
    // What has not ended by then, or could not be stopped, is stopped again.
    if (instance.state === "running" && this.#timers.has(instance.containerId))
      this.#set(instance, performance.now() + RETRY_MS, stopTimeoutMs);
  }
}
