import { setTimeout as sleep } from "node:timers/promises";
import type { FailureKind, Observation, Runtime, Workload } from "../contract/workload.ts";
import { isFinal, isLeftOut, isNews, nextStep, type Step, sameSight, staleGenerations } from "./decide.ts";
import type { Driver, Found } from "./driver.ts";
import { Entry, failed, keptOf, vanished } from "./entry.ts";
import { Gate } from "./gate.ts";
import { continues, intake } from "./intake.ts";
import type { Kept, Ledger, Presence } from "./ledger.ts";
import type { Verdict } from "./policy.ts";
import { withoutSecrets } from "./secrecy.ts";
import { Settling } from "./settling.ts";
import { type Subject, subjectOf } from "./subject.ts";

/** How long the fence of a workload that is gone is kept. */
export const FENCE_KEPT_MS = 7 * 24 * 3600_000;
/** A gone workload is in the inventory for this long; after that it is told only when asked for. */
const GONE_TOLD_MS = 3600_000;
const APPLIES_AT_ONCE = 8;
const REMOVALS_AT_ONCE = 32;
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;

export type ReconcilerOptions = {
  ledger: Ledger;
  /** The driver that can be used now; `waiting` when it does not answer at present, `disabled` when this agent does not have it. */
  driver: (runtime: Runtime) => Driver | "waiting" | "disabled";
  /** Judges a workload before a driver sees it. */
  permit: (workload: Workload) => Promise<Verdict>;
  /** Told before a generation of a workload is stopped; what it still has to do for others is done when this resolves. */
  retire?: (id: string, generation: number) => Promise<void>;
  /** Told of every workload whose observation changed. */
  changed: (id: string) => void;
  /** Told of every workload of which `subject` may answer something else now. */
  attend: (id: string) => void;
  /** Told when all that a full set sent away is gone. */
  settled: (revision: number) => void;
  log: (line: string) => void;
  now?: () => number;
};

/**
 * Brings this host to what the control plane last said, and keeps what it said across restarts. For one workload it does one thing at a time;
 * workloads do not wait for each other. A command is on disk before it is acted on, and what must not be here goes before what should be comes.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #applies = new Gate(APPLIES_AT_ONCE);
  readonly #removals = new Gate(REMOVALS_AT_ONCE);
  readonly #now: () => number;
  /** Whether a full set was accepted since the start: from then on, what nobody claims is left over. */
  #hadFullSet = false;
  readonly #settling: Settling;
  #closed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#settling = new Settling(options.settled);
    for (const kept of options.ledger.workloads()) this.#entries.set(kept.id, new Entry(kept));
    for (const { id, generation, runtime, stopTimeoutMs } of options.ledger.presences()) {
      this.#entries.get(id)?.present.set(generation, { runtime, stopTimeoutMs });
    }
    this.prune();
  }

  /** Takes in what a driver found when it was started, then resumes what was accepted and is not done. */
  adopt(runtime: Runtime, found: readonly Found[]): void {
    const kept: Kept[] = [];
    const presences: Presence[] = [];
    for (const { id, generation, owner, observation } of found) {
      let entry = this.#entries.get(id);
      if (entry === undefined || generation > entry.fence) {
        const present = entry?.present;
        const want = this.#hadFullSet ? "absent" : "unclaimed";
        const raised = {
          id,
          fence: generation,
          want,
          owner,
          probing: "all",
          spec: null,
          last: null,
          changedAt: this.#now(),
        } satisfies Kept;
        entry = new Entry(raised);
        if (present) entry.present = present;
        this.#entries.set(id, entry);
        kept.push(raised);
      }
      if (!entry.present.has(generation)) {
        const stopTimeoutMs =
          generation === entry.fence ? (entry.spec?.stop_timeout_ms ?? STOP_TIMEOUT_MS) : STOP_TIMEOUT_MS;
        entry.present.set(generation, { runtime, stopTimeoutMs });
        presences.push({ id, generation, runtime, stopTimeoutMs });
      }
      if (generation === entry.fence) entry.ran = false;
      if (observation.phase !== "preparing") this.#see(entry, observation);
    }
    this.#options.ledger.keep(kept, presences);
    for (const entry of this.#entries.values()) {
      if (!entry.ran || entry.present.get(entry.fence)?.runtime !== runtime) continue;
      // It was taken away while the agent was dead. To make it again would be to restart it.
      entry.ran = false;
      this.#see(entry, vanished(entry, this.#now()));
    }
    for (const entry of this.#entries.values()) this.#poke(entry);
  }

  /** Accepts what changed. */
  accept(workloads: readonly Workload[]): void {
    for (const id of this.#take(workloads)) this.#options.changed(id);
  }

  /** Accepts all that this host should run: what is not named must go. `settled` follows once it is gone. */
  acceptAll(revision: number, workloads: readonly Workload[]): void {
    this.#hadFullSet = true;
    const named = new Set(workloads.map((workload) => workload.id));
    const left = [...this.#entries.values()].filter((entry) => !named.has(entry.id) && isLeftOut(entry.want));
    this.#sendAway(left);
    for (const id of this.#take(workloads)) {
      if (this.#entries.get(id)?.want === "gone") this.#options.changed(id);
    }
    const stale = [...this.#entries.values()].flatMap((entry) =>
      staleGenerations(entry).map((generation) => ({ id: entry.id, generation })),
    );
    this.#settling.await(revision, stale);
  }

  /** Told by the drivers. */
  observe(observation: Observation): void {
    const entry = this.#entries.get(observation.id);
    if (entry) this.#see(entry, observation);
  }

  /** A runtime came up: what waited for it goes on. */
  resume(): void {
    for (const entry of this.#entries.values()) this.#hurry(entry);
  }

  /** Stops and removes everything, whatever was accepted; resolves when it is gone. */
  async clear(): Promise<void> {
    this.#hadFullSet = true;
    this.#sendAway([...this.#entries.values()].filter((entry) => isLeftOut(entry.want)));
    // What a runtime has that this agent was started without, it cannot reach.
    const canGo = ({ runtime }: { runtime: Runtime }): boolean => this.#options.driver(runtime) !== "disabled";
    const isLeft = (entry: Entry): boolean => entry.busy || [...entry.present.values()].some(canGo);
    while (!this.#closed && [...this.#entries.values()].some(isLeft)) await sleep(20);
    this.#options.ledger.forget([...this.#entries.keys()]);
    this.#entries.clear();
  }

  /** All that is known, for a full restatement. */
  inventory(): Observation[] {
    const oldest = this.#now() - GONE_TOLD_MS;
    const seen = [...this.#entries.values()].map((entry) => entry.seen).filter((observation) => observation !== null);
    return seen.filter((observation) => observation.phase !== "gone" || observation.at >= oldest);
  }

  observation(id: string): Observation | null {
    return this.#entries.get(id)?.seen ?? null;
  }

  /** The runtime that the workload runs on, or last ran on; null when it is not known here. */
  runtimeOf(id: string): Runtime | null {
    return this.#entries.get(id)?.runtime ?? null;
  }

  /** What is to be watched of a workload; null when it is not wanted here. */
  subject(id: string): Subject | null {
    const entry = this.#entries.get(id);
    return entry ? subjectOf(entry) : null;
  }

  /** Forgets the fences of workloads that have been gone for long. */
  prune(): void {
    const before = this.#now() - FENCE_KEPT_MS;
    const old = [...this.#entries.values()].filter(
      (entry) => entry.seen?.phase === "gone" && entry.changedAt < before && entry.present.size === 0 && !entry.busy,
    );
    this.#options.ledger.forget(old.map((entry) => entry.id));
    for (const entry of old) this.#entries.delete(entry.id);
  }

  /** Starts nothing more. What runs goes on running; what is under way is resumed at the next start. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) {
      if (entry.retry) clearTimeout(entry.retry);
      entry.applying?.abort.abort();
    }
  }

  /** Keeps what is new, then acts on it. Answers the ids of those that were not refused. */
  #take(workloads: readonly Workload[]): string[] {
    const { driver, ledger, log } = this.#options;
    const { accepted, changes, probing, presences, refusals } = intake(workloads, {
      entries: this.#entries,
      has: (runtime) => driver(runtime) !== "disabled",
      now: this.#now(),
    });
    for (const refusal of refusals) log(refusal);
    ledger.keep([...changes.values(), ...probing.values()], presences);

    for (const kept of changes.values()) {
      let entry = this.#entries.get(kept.id);
      if (entry === undefined) {
        entry = new Entry(kept);
        this.#entries.set(kept.id, entry);
      } else {
        if (!continues(entry, kept)) entry.seen = null;
        const { fence, want, owner, spec, changedAt } = kept;
        Object.assign(entry, { fence, want, owner, probing: kept.probing, spec, changedAt, ran: false });
      }
    }
    for (const kept of probing.values()) (this.#entries.get(kept.id) as Entry).probing = kept.probing;
    for (const { id, generation, runtime, stopTimeoutMs } of presences) {
      this.#entries.get(id)?.present.set(generation, { runtime, stopTimeoutMs });
    }
    for (const id of changes.keys()) this.#hurry(this.#entries.get(id) as Entry);
    for (const id of [...changes.keys(), ...probing.keys()]) this.#options.attend(id);
    return accepted;
  }

  #sendAway(entries: readonly Entry[]): void {
    const changedAt = this.#now();
    this.#options.ledger.keep(entries.map((entry) => ({ ...keptOf(entry), want: "absent", changedAt })));
    for (const entry of entries) {
      Object.assign(entry, { want: "absent", changedAt });
      this.#hurry(entry);
      this.#options.attend(entry.id);
    }
  }

  /** Goes on at once, whatever delay was on; an apply that is no longer wanted is broken off. */
  #hurry(entry: Entry): void {
    entry.failures = 0;
    if (entry.retry) clearTimeout(entry.retry);
    entry.retry = null;
    if (entry.applying && (entry.want !== "running" || entry.applying.generation !== entry.fence))
      entry.applying.abort.abort();
    this.#poke(entry);
  }

  #poke(entry: Entry): void {
    if (entry.busy || entry.retry || this.#closed) return;
    entry.busy = true;
    void this.#work(entry);
  }

  async #work(entry: Entry): Promise<void> {
    try {
      let goOn = true;
      while (goOn && !this.#closed) {
        const step = nextStep(entry);
        goOn = step.do !== "rest" && (await this.#perform(entry, step));
      }
      entry.failures = 0;
    } catch (error) {
      if (!this.#closed) {
        const delay = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** entry.failures++);
        this.#options.log(`${entry.id}: ${this.#reason(entry, error)}; again in ${delay} ms`);
        entry.retry = setTimeout(() => {
          entry.retry = null;
          this.#poke(entry);
        }, delay);
      }
    } finally {
      entry.busy = false;
    }
    // What arrived between the last look and the end of the work has found the entry busy.
    if (!this.#closed && entry.retry === null && nextStep(entry).do !== "rest" && !this.#isWaiting(entry))
      this.#poke(entry);
  }

  /** Whether there is something to look at again at once. */
  async #perform(entry: Entry, step: Exclude<Step, { do: "rest" }>): Promise<boolean> {
    if (step.do === "apply") return this.#apply(entry, step.workload);
    if (step.do === "gone") {
      if (this.#isWaiting(entry)) return this.#wait(entry, "process", "forget");
      await this.#forgetTraces(entry);
      // What has been accepted meanwhile is looked at again.
      if (nextStep(entry).do !== "gone") return true;
      this.#see(entry, { id: entry.id, generation: entry.fence, at: this.#now(), phase: "gone" }, true);
      return true;
    }
    const driver = this.#options.driver(step.runtime);
    if (typeof driver === "string") return this.#wait(entry, step.runtime, "remove");
    if (step.tell)
      this.#see(entry, { id: entry.id, generation: entry.fence, at: this.#now(), phase: "stopping" }, true);
    await this.#options.retire?.(entry.id, step.generation);
    await this.#removals.pass(() => driver.remove(entry.id, step.generation, step.stopTimeoutMs));
    if (this.#closed) return false;
    this.#options.ledger.dropPresence(entry.id, step.generation);
    entry.present.delete(step.generation);
    this.#settling.gone(entry.id, step.generation);
    return true;
  }

  async #apply(entry: Entry, workload: Workload): Promise<boolean> {
    const { id, generation } = workload;
    const driver = this.#options.driver(workload.spec.runtime);
    if (driver === "waiting") return this.#wait(entry, workload.spec.runtime, "start");
    const abort = new AbortController();
    entry.applying = { generation, abort };
    let result: Observation;
    try {
      const fail = (kind: FailureKind, reason: string, message: string): Observation =>
        failed(workload, this.#now(), { kind, reason, message });
      const verdict = await this.#options.permit(workload);
      if (!verdict.permitted) {
        result = fail(verdict.denial.kind ?? "create_container_error", verdict.denial.reason, verdict.denial.message);
      } else if (driver === "disabled") {
        const message = `The agent of this host was started without the ${workload.spec.runtime} runtime.`;
        result = fail("error", "runtime_not_enabled", message);
      } else {
        if (!entry.present.has(generation)) {
          const presence = { runtime: workload.spec.runtime, stopTimeoutMs: workload.spec.stop_timeout_ms };
          this.#options.ledger.keep([], [{ id, generation, ...presence }]);
          entry.present.set(generation, presence);
        }
        result = await this.#applies.pass(async () => {
          if (abort.signal.aborted) return fail("error", "aborted", "No longer wanted.");
          try {
            return await driver.apply(verdict.workload, abort.signal);
          } catch (error) {
            return fail("error", "driver_error", this.#reason(entry, error));
          }
        });
      }
    } finally {
      entry.applying = null;
    }
    if (this.#closed) return false;
    if (abort.signal.aborted) return true;
    if (result.phase === "failed") {
      const message = withoutSecrets(result.failure.message, workload.spec);
      result = { ...result, failure: { ...result.failure, message } };
    }
    if (result.phase === "preparing") throw new Error("the runtime has not brought it up yet");
    this.#see(entry, result);
    return true;
  }

  #wait(entry: Entry, runtime: Runtime, verb: "start" | "remove" | "forget"): false {
    const message = `waiting for ${runtime} to answer on this host`;
    this.#options.log(`${entry.id}: cannot ${verb} it, ${message}`);
    if (verb === "start")
      this.#see(entry, { id: entry.id, generation: entry.fence, at: this.#now(), phase: "preparing", message });
    return false;
  }

  #isWaiting(entry: Entry): boolean {
    const step = nextStep(entry);
    if (step.do === "rest") return false;
    // Traces are kept by the process runtime only, and it may come up after another one.
    const last = entry.spec?.runtime ?? "process";
    const runtime = step.do === "apply" ? step.workload.spec.runtime : step.do === "remove" ? step.runtime : last;
    if (step.do === "gone" && runtime !== "process") return false;
    const driver = this.#options.driver(runtime);
    return driver === "waiting" || (driver === "disabled" && step.do === "remove");
  }

  async #forgetTraces(entry: Entry): Promise<void> {
    const runtime = entry.spec?.runtime;
    for (const kind of runtime ? [runtime] : (["process", "docker", "podman"] as const)) {
      const driver = this.#options.driver(kind);
      if (typeof driver !== "string") await driver.forget?.(entry.id);
    }
  }

  #see(entry: Entry, observation: Observation, own = false): void {
    if (!own && !isNews(entry, observation)) return;
    if (entry.seen && sameSight(entry.seen, observation)) return;
    // A final one is on disk before it is told; that it runs need not hold up that it is told.
    if (isFinal(observation)) this.#options.ledger.keep([{ ...keptOf(entry), last: observation }]);
    entry.seen = observation;
    this.#options.changed(entry.id);
    this.#options.attend(entry.id);
    if (observation.phase === "running") {
      setImmediate(() => {
        if (!this.#closed && entry.seen === observation) this.#options.ledger.keep([keptOf(entry)]);
      });
    }
  }

  #reason(entry: Entry, error: unknown): string {
    const message = error instanceof Error ? error.message : String(error);
    return entry.spec ? withoutSecrets(message, entry.spec) : message;
  }
}
