import { type AgentBody, FULL_PART } from "../../contract/frame.ts";
import type { HealthResult, Usage } from "../../contract/health.ts";
import type { Observation } from "../../contract/workload.ts";

export type Source = {
  hello: () => AgentBody;
  facts: () => AgentBody;
  inventory: () => Observation[];
  observation: (id: string) => Observation | null;
  /** The newest result of each health check that says something new. */
  health: () => HealthResult[];
  /** The question for the leases of writers, as it is when it is sent; null when there is none to ask. */
  renewal: () => AgentBody | null;
};

/**
 * What the control plane has yet to be told. Only what is so now matters: a workload that changed three times is reported once, as it is when
 * its turn comes. While there is no connection nothing queues up, because a new connection begins with the whole.
 */
export class Outbox {
  readonly #source: Source;
  readonly #dirty = new Set<string>();
  readonly #checked = new Map<string, HealthResult>();
  readonly #used = new Map<string, Usage>();
  #settled: number | null = null;
  readonly #asked = new Map<string, { generation: number; waits: boolean }>();
  #facts = false;
  #renewal = false;
  #news: () => void = () => {};

  constructor(source: Source) {
    this.#source = source;
  }

  changed(id: string): void {
    this.#dirty.add(id);
    this.#news();
  }

  /** Health checks say something new. */
  checked(results: readonly HealthResult[]): void {
    for (const result of results) this.#checked.set(`${result.id} ${result.check}`, result);
    this.#news();
  }

  used(usages: readonly Usage[]): void {
    for (const usage of usages) this.#used.set(usage.id, usage);
    if (usages.length > 0) this.#news();
  }

  /** What a route leads to was asked something, or is waited for. */
  asked(id: string, generation: number, waits: boolean): void {
    const before = this.#asked.get(id);
    this.#asked.set(id, { generation, waits: waits || (before?.generation === generation && before.waits) });
    this.#news();
  }

  settled(revision: number): void {
    this.#settled = revision;
    this.#news();
  }

  /** The leases of writers are to be asked for. */
  renew(): void {
    this.#renewal = true;
    this.#news();
  }

  factsChanged(): void {
    this.#facts = true;
    this.#news();
  }

  /** Calls back at each piece of news, until the next caller takes its place. */
  onNews(callback: () => void): void {
    this.#news = callback;
  }

  get isEmpty(): boolean {
    const isQuiet = this.#checked.size === 0 && this.#used.size === 0 && this.#asked.size === 0;
    return isQuiet && this.#dirty.size === 0 && this.#settled === null && !this.#facts && !this.#renewal;
  }

  /** How a connection begins: who this is, then all that is known. What was waiting is part of it. */
  restate(): AgentBody[] {
    this.#dirty.clear();
    this.#checked.clear();
    // Whoever asks still says it again.
    this.#asked.clear();
    this.#settled = null;
    this.#facts = false;
    const all = this.#source.inventory();
    const bodies = [this.#source.hello()];
    for (let at = 0; at === 0 || at < all.length; at += FULL_PART) {
      bodies.push({
        kind: "inventory",
        observations: all.slice(at, at + FULL_PART),
        last: at + FULL_PART >= all.length,
      });
    }
    this.#renewal = false;
    const renewal = this.#source.renewal();
    return [...bodies, ...(renewal === null ? [] : [renewal]), ...healthIn(this.#source.health())];
  }

  /** What is waiting, in the order in which it must be told: what became of workloads before that all is settled. */
  take(): AgentBody[] {
    const bodies: AgentBody[] = [];
    const renewal = this.#renewal ? this.#source.renewal() : null;
    this.#renewal = false;
    if (renewal !== null) bodies.push(renewal);
    if (this.#facts) bodies.push(this.#source.facts());
    const seen = [...this.#dirty]
      .map((id) => this.#source.observation(id))
      .filter((observation) => observation !== null);
    for (let at = 0; at < seen.length; at += FULL_PART)
      bodies.push({ kind: "report", observations: seen.slice(at, at + FULL_PART) });
    bodies.push(...healthIn([...this.#checked.values()]));
    const used = [...this.#used.values()];
    for (let at = 0; at < used.length; at += FULL_PART)
      bodies.push({ kind: "usage", usages: used.slice(at, at + FULL_PART) });
    const routes = [...this.#asked].map(([id, said]) => ({ id, ...said }));
    if (routes.length > 0) bodies.push({ kind: "asked", routes });
    if (this.#settled !== null) bodies.push({ kind: "settled", revision: this.#settled });
    this.#asked.clear();
    this.#facts = false;
    this.#dirty.clear();
    this.#checked.clear();
    this.#used.clear();
    this.#settled = null;
    return bodies;
  }
}

function healthIn(results: readonly HealthResult[]): AgentBody[] {
  const bodies: AgentBody[] = [];
  for (let at = 0; at < results.length; at += FULL_PART)
    bodies.push({ kind: "health", results: results.slice(at, at + FULL_PART) });
  return bodies;
}
