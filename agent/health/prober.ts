import type { HealthResult, Probe } from "../../contract/health.ts";
import type { Runtime } from "../../contract/workload.ts";
import { type Driver, RuntimeSilent } from "../driver.ts";
import { Gate } from "../gate.ts";
import type { Ledger } from "../ledger.ts";
import { withoutSecrets } from "../secrecy.ts";
import type { Subject } from "../subject.ts";
import { isDue, judge, NEW_RUN, nextProbe, type Outcome, type Run } from "./decide.ts";
import { knockHttp, knockTcp } from "./knock.ts";
import { isOwn, LOCAL, placeOf, portOf } from "./place.ts";
import { Tallies } from "./tallies.ts";

/** The first probe of an instance that has just come up is this soon, ms; of those that were up already, each at some moment of its interval. */
const FIRST_MOST_MS = 100;
const FRESH_MS = 5_000;
/** Commands are processes: so many at a time. Connections cost next to nothing. */
const COMMANDS_AT_ONCE = 32;
const KNOCKS_AT_ONCE = 512;
/** An answer that is this much later than its timeout, ms, says that the agent itself stood still, and nothing about the instance. */
const STALLED_MS = 1_000;
const MESSAGE_MOST = 300;
/** How often it is noted that checks are looked after, ms. */
const WATCH_EVERY_MS = 2_000;

export type ProberOptions = {
  ledger: Ledger;
  driver: (runtime: Runtime) => Driver | "waiting" | "disabled";
  /** Told of results that say something new. */
  told: (results: HealthResult[]) => void;
  log: (line: string) => void;
  /** The host's clock, which may be set; and one that only goes on. */
  now?: () => number;
  clock?: () => number;
};

type Check = {
  readonly index: number;
  readonly probe: Probe;
  run: Run;
  timer: NodeJS.Timeout | null;
  /** The end of its newest probe, by both clocks. */
  ended: { clock: number; now: number } | null;
  /** Once it has its own place in its interval, it keeps it. */
  isPlaced: boolean;
};

type Watched = {
  subject: Subject;
  checks: Check[];
  /** How old the instance was when it was first seen by this agent process, and when that was by the monotonic clock. */
  age: number;
  since: number;
  stopped: AbortController;
};

/** Runs the health checks of all instances on this host, each at its own pace, and keeps count of what they come to. */
export class Prober {
  readonly #options: ProberOptions;
  readonly #tallies: Tallies;
  readonly #watched = new Map<string, Watched>();
  readonly #commands = new Gate(COMMANDS_AT_ONCE);
  readonly #knocks = new Gate(KNOCKS_AT_ONCE);
  readonly #now: () => number;
  readonly #clock: () => number;
  /** When the agent process before this one last looked. */
  readonly #watchedBefore: number | null;
  #notedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#clock = options.clock ?? (() => performance.now());
    this.#tallies = new Tallies(options.ledger, options.told, options.log);
    this.#watchedBefore = options.ledger.watchedAt();
  }

  /** Those of which something was kept, so that what is no longer wanted can be forgotten. */
  ids(): string[] {
    return this.#tallies.ids();
  }

  /** What there is to watch of a workload may have changed. */
  attend(id: string, subject: Subject | null): void {
    const watched = this.#watched.get(id);
    if (subject === null || watched?.subject.generation !== subject.generation) this.#stop(id);
    if (subject === null) {
      this.#tallies.drop(id);
      return;
    }
    if ((subject.spec.health_checks?.length ?? 0) === 0) return;
    this.#tallies.begin(id, subject.generation);
    // Where it ends, its results stay: the control plane may not have had them.
    if (subject.seen === null) {
      this.#stop(id);
      return;
    }
    const known = this.#watched.get(id);
    if (known && known.subject.seen?.started_at === subject.seen.started_at) {
      known.subject = subject;
      this.#schedule(known);
      return;
    }
    this.#stop(id);
    this.#begin(subject);
  }

  /** The newest result of each check that says something new, for a full restatement. */
  all(): HealthResult[] {
    return this.#tallies.all();
  }

  close(): void {
    for (const id of [...this.#watched.keys()]) this.#stop(id);
    if (this.#notedAt > 0) this.#options.ledger.noteWatch(this.#now());
    this.#tallies.close();
  }

  #begin(subject: Subject): void {
    const watched: Watched = {
      subject,
      checks: (subject.spec.health_checks ?? []).map((probe, index) => ({
        index,
        probe,
        run: this.#resumed(subject, index, probe),
        timer: null,
        ended: null,
        isPlaced: false,
      })),
      age: Math.max(0, this.#now() - (subject.seen?.started_at ?? 0)),
      since: this.#clock(),
      stopped: new AbortController(),
    };
    this.#watched.set(subject.id, watched);
    this.#schedule(watched);
  }

  /** What goes on from before a restart of the agent: that a failure counted less than an interval ago. */
  #resumed({ id, generation }: Subject, index: number, probe: Probe): Run {
    const last = this.#tallies.get(id, generation, index)?.last;
    if (!last || last.status === "success") return NEW_RUN;
    const ago = Math.max(0, this.#now() - last.started_at);
    return { ...NEW_RUN, countedAt: this.#clock() - Math.min(ago, probe.interval_ms) };
  }

  #stop(id: string): void {
    const watched = this.#watched.get(id);
    if (!watched) return;
    this.#watched.delete(id);
    for (const { timer } of watched.checks) if (timer) clearTimeout(timer);
    watched.stopped.abort();
  }

  /** Starts the checks that are due and do not run yet. */
  #schedule(watched: Watched): void {
    for (const check of watched.checks) {
      if (check.timer || !this.#isDue(watched, check)) continue;
      const most = watched.age < FRESH_MS ? FIRST_MOST_MS : check.probe.interval_ms;
      this.#at(watched, check, this.#clock() + Math.random() * Math.min(most, check.probe.interval_ms));
    }
  }

  #isDue({ subject }: Watched, check: Check): boolean {
    const { id, generation, spec, probing } = subject;
    const tallies = this.#tallies.begin(id, generation);
    return isDue(check.index, spec.health_checks ?? [], tallies, probing);
  }

  #at(watched: Watched, check: Check, at: number): void {
    check.timer = setTimeout(
      () => {
        this.#probe(watched, check).catch((error: Error) => {
          check.timer = null;
          this.#options.log(`${watched.subject.id}: check ${check.index}: ${error.message}`);
        });
      },
      Math.max(0, at - this.#clock()),
    );
  }

  async #probe(watched: Watched, check: Check): Promise<void> {
    const { probe, index } = check;
    if (!this.#isDue(watched, check)) {
      check.timer = null;
      return;
    }
    const gate = probe.type === "command" ? this.#commands : this.#knocks;
    const [start, started_at, outcome] = await gate.pass(async () => {
      const began: [number, number] = [this.#clock(), this.#now()];
      return [...began, watched.stopped.signal.aborted ? null : await this.#carryOut(watched, probe)] as const;
    });
    if (watched.stopped.signal.aborted) return;
    const end = this.#clock();
    const isStalled = outcome?.status === "timeout" && end - start > probe.timeout_ms + STALLED_MS;
    if (outcome && !isStalled) this.#conclude(watched, check, outcome, start, end, started_at);
    const { id, generation } = watched.subject;
    const [next, run] = nextProbe(probe, this.#tallies.get(id, generation, index), check.run, start, end);
    check.run = run;
    // Those that came up together part here: once, when all is well, the way to the next is shorter by a random part.
    const parts = !check.isPlaced && outcome?.status === "success" && next >= start + probe.interval_ms;
    const early = parts ? (Math.random() * probe.interval_ms) / 2 : 0;
    check.isPlaced ||= parts;
    this.#at(watched, check, Math.max(end, next - early));
  }

  #conclude(watched: Watched, check: Check, outcome: Outcome, start: number, end: number, started_at: number): void {
    const { id, generation, spec } = watched.subject;
    const before = this.#tallies.get(id, generation, check.index);
    const now = this.#now();
    const { tally, run, isNews, isKept } = judge(check.probe, before, check.run, {
      id,
      generation,
      check: check.index,
      outcome: { ...outcome, message: withoutSecrets(outcome.message, spec).slice(0, MESSAGE_MOST) },
      start,
      end,
      started_at,
      finished_at: now,
      age: watched.age + start - watched.since,
      gap: this.#gap(check, start, started_at),
    });
    check.run = run;
    check.ended = { clock: end, now };
    this.#tallies.put({ id, generation, check: check.index, tally }, isKept, isNews);
    if (start - this.#notedAt > WATCH_EVERY_MS) {
      this.#notedAt = start;
      this.#options.ledger.noteWatch(now);
    }
    if (tally.ready && !before?.ready) this.#schedule(watched);
  }

  /** How long nobody looked. Neither clock says it alone: the one stands still with a sleeping machine, and the other may be set. */
  #gap({ ended }: Check, start: number, startedAt: number): number {
    if (ended) return Math.max(start - ended.clock, startedAt - ended.now);
    return this.#watchedBefore === null ? 0 : Math.max(0, startedAt - this.#watchedBefore);
  }

  /** Null when nothing can be said about the instance. */
  async #carryOut(watched: Watched, probe: Probe): Promise<Outcome | null> {
    try {
      return await this.#attempt(watched, probe);
    } catch (error) {
      return error instanceof RuntimeSilent ? null : { status: "failed", message: (error as Error).message };
    }
  }

  async #attempt({ subject, stopped }: Watched, probe: Probe): Promise<Outcome | null> {
    const { id, generation, spec } = subject;
    const driver = this.#options.driver(spec.runtime);
    if (probe.type === "command") {
      if (typeof driver === "string") return null;
      const { exit_code, stdout, stderr } = await driver.exec(id, generation, probe.command, probe.timeout_ms);
      if (exit_code === 0) return { status: "success", message: "exit code 0" };
      if (exit_code === null) return { status: "timeout", message: `no end within ${probe.timeout_ms} ms` };
      const said = (stderr.trim() || stdout.trim()).split("\n")[0];
      return { status: "failed", message: `exit code ${exit_code}${said ? `: ${said}` : ""}` };
    }
    const reach = typeof driver === "string" ? undefined : await driver.reach?.();
    const url = probe.type === "http" ? new URL(probe.url) : null;
    const isOurs = url === null || isOwn(url);
    const port = url === null ? (probe as Probe & { type: "tcp" }).port : portOf(url);
    const place = isOurs
      ? placeOf(subject, port, reach ?? { own: true })
      : { host: bare(url?.hostname ?? LOCAL), port };
    if (typeof place === "string") return { status: "failed", message: place };
    return url === null
      ? knockTcp(place, probe.timeout_ms, stopped.signal)
      : knockHttp(url, place, isOurs, probe.timeout_ms, stopped.signal);
  }
}

/** The address in a URL's brackets. */
const bare = (hostname: string): string => hostname.replace(/^\[(.*)\]$/, "$1");
