import type { Usage } from "../contract/health.ts";
import { instanceId } from "../contract/id.ts";
import type { InstanceStats, Runtime } from "../contract/workload.ts";
import type { Driver } from "./driver.ts";
import type { Subject } from "./subject.ts";

/** Over which time CPU use is measured, ms. */
const WINDOW_MS = 10_000;
/** What is told again at the latest, ms. */
const AGAIN_MS = 60_000;
/** What counts as a change: points of CPU, and parts of the memory told last. */
const CPU_POINTS = 5;
const MEMORY_PART = 0.1;
/** CPU use is counted from this reader's own last reading. */
const READER = "usage";

export type UsageOptions = {
  driver: (runtime: Runtime) => Driver | "waiting" | "disabled";
  told: (usages: Usage[]) => void;
  log: (line: string) => void;
  windowMs?: number;
  againMs?: number;
  now?: () => number;
};

type Measured = {
  subject: Subject;
  /** Its use was read once, so that the next reading is over a whole window. */
  isMarked: boolean;
  last: { usage: Usage; at: number } | null;
};

/** Measures what instances use that are to be scaled by it, all in one round per window, and tells what changed. */
export class UsageSampler {
  readonly #options: UsageOptions;
  readonly #measured = new Map<string, Measured>();
  #timer: NodeJS.Timeout | null = null;
  #isBusy = false;
  #fault = "";

  constructor(options: UsageOptions) {
    this.#options = options;
  }

  /** What there is to measure of a workload may have changed. */
  attend(id: string, subject: Subject | null): void {
    const known = this.#measured.get(id);
    if (subject?.seen == null || subject.spec.measured !== true) {
      this.#measured.delete(id);
      if (this.#measured.size === 0 && this.#timer) this.close();
      return;
    }
    if (known?.subject.generation === subject.generation) known.subject = subject;
    else this.#measured.set(id, { subject, isMarked: false, last: null });
    this.#timer ??= setInterval(() => void this.#round(), this.#options.windowMs ?? WINDOW_MS).unref();
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }

  async #round(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      const byRuntime = new Map<Runtime, Measured[]>();
      for (const one of this.#measured.values()) {
        const { runtime } = one.subject.spec;
        byRuntime.set(runtime, [...(byRuntime.get(runtime) ?? []), one]);
      }
      const usages = await Promise.all([...byRuntime].map(([runtime, all]) => this.#read(runtime, all)));
      const news = usages.flat();
      if (news.length > 0 && this.#timer) this.#options.told(news);
    } finally {
      this.#isBusy = false;
    }
  }

  /** A runtime that does not answer keeps no other from being read. */
  async #read(runtime: Runtime, all: readonly Measured[]): Promise<Usage[]> {
    const driver = this.#options.driver(runtime);
    if (typeof driver === "string") return [];
    try {
      const stats = await driver.stats(
        all.map(({ subject }) => subject.id),
        READER,
      );
      this.#fault = "";
      const byInstance = new Map(stats.map((it) => [it.instance_id, it]));
      return all.flatMap((one) => {
        const read = byInstance.get(instanceId(one.subject.id, one.subject.generation));
        return read ? this.#news(one, read) : [];
      });
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#fault) this.#options.log(`${runtime}: what workloads use cannot be read: ${message}`);
      this.#fault = message;
      return [];
    }
  }

  #news(one: Measured, { cpu_usage_percent, memory }: InstanceStats): Usage[] {
    if (!one.isMarked) {
      one.isMarked = true;
      return [];
    }
    const at = (this.#options.now ?? Date.now)();
    const usage: Usage = {
      id: one.subject.id,
      generation: one.subject.generation,
      at,
      cpu_usage_percent,
      memory_usage_bytes: memory.usage_bytes,
    };
    const clock = performance.now();
    const isDue = one.last === null || clock - one.last.at >= (this.#options.againMs ?? AGAIN_MS);
    if (!isDue && !hasMoved((one.last as { usage: Usage }).usage, usage)) return [];
    one.last = { usage, at: clock };
    return [usage];
  }
}

export const hasMoved = (before: Usage, now: Usage): boolean =>
  Math.abs(now.cpu_usage_percent - before.cpu_usage_percent) >= CPU_POINTS ||
  Math.abs(now.memory_usage_bytes - before.memory_usage_bytes) >= MEMORY_PART * before.memory_usage_bytes;
