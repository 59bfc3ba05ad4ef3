import { existsSync, type FSWatcher, watch } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Note, Observation } from "../../contract/workload.ts";
import { sameSight } from "../decide.ts";
import type { StateKey } from "../state-key.ts";
import { type Child, type Ending, type Intent, readEnding, readInstance, writeWhole } from "./folder.ts";
import { killAll } from "./kill.ts";
import { isAlive, type Pid } from "./pid.ts";

/** How long a wait relies on notifications before it looks by itself. */
const LOOK_AGAIN_MS = 1_000;

export type InstanceOptions = {
  id: string;
  generation: number;
  folder: string;
  key: StateKey;
  advertise: string;
  observe: (observation: Observation) => void;
  log: (line: string) => void;
};

/** One generation of one workload, as its folder tells it. */
export class Instance {
  readonly id: string;
  readonly generation: number;
  readonly folder: string;
  intent: Intent | null = null;
  child: Child | null = null;

  readonly #options: InstanceOptions;
  readonly #gone = new AbortController();
  readonly #waiting = new Set<() => void>();
  #watcher: FSWatcher | null = null;
  #looking: Promise<Observation> | null = null;
  #told: Observation | null = null;
  #shim: Pid | null = null;
  #closed = false;

  constructor(options: InstanceOptions) {
    this.id = options.id;
    this.generation = options.generation;
    this.folder = options.folder;
    this.#options = options;
  }

  /** Aborted when the instance was removed. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** What the folder says now. When that is news, it is told to the observer too. */
  async look(): Promise<Observation> {
    this.watch();
    this.#looking ??= this.#read().finally(() => {
      this.#looking = null;
    });
    const observation = await this.#looking;
    const isNews = this.#told === null || !sameSight(this.#told, observation);
    if (isNews && !this.#closed && observation.phase !== "preparing") {
      this.#told = observation;
      this.#options.observe(observation);
    }
    return observation;
  }

  /** Something may have changed. */
  touch(): void {
    if (this.#closed || this.#told?.phase === "exited" || this.#told?.phase === "failed") return;
    const inFlight = this.#looking;
    void (inFlight ? inFlight.then(() => this.look()) : this.look())
      .catch((error: Error) => this.#options.log(`process: ${this.id}: ${error.message}`))
      .finally(() => {
        for (const wake of this.#waiting) wake();
      });
  }

  /** Looks until this holds, the time is up or the signal aborts; answers what was seen last. */
  async until(
    holds: (observation: Observation) => boolean,
    timeoutMs: number,
    abort?: AbortSignal,
  ): Promise<Observation> {
    const end = Date.now() + timeoutMs;
    const givenUp = abort ? [aborted(abort)] : [];
    for (;;) {
      const changed = this.#change();
      const observation = await this.look();
      const left = end - Date.now();
      if (holds(observation) || left <= 0 || abort?.aborted) return observation;
      await Promise.race([changed, sleep(Math.min(left, LOOK_AGAIN_MS), undefined, { ref: false }), ...givenUp]);
    }
  }

  /** Looks if it can have ended unseen. */
  scan(): void {
    const shim = this.#told?.phase === "running" ? this.#shim : null;
    if (shim === null) this.touch();
    else {
      void isAlive(shim).then((alive) => {
        if (!alive) this.touch();
      });
    }
  }

  async ended(): Promise<boolean> {
    return (await readEnding(this.folder)) !== null;
  }

  async untilDead(process: Pid, timeoutMs: number): Promise<void> {
    const end = Date.now() + timeoutMs;
    for (let wait = 1; Date.now() < end && (await isAlive(process)); wait = Math.min(100, wait * 2)) await sleep(wait);
  }

  /** Has changes in the folder noticed at once, from when it is there. */
  watch(): void {
    if (this.#watcher || this.#closed || !existsSync(this.folder)) return;
    try {
      this.#watcher = watch(this.folder, { persistent: false }, (_, name) => {
        if (name === null || name.endsWith(".json")) this.touch();
      });
      this.#watcher.on("error", () => this.#watcher?.close());
    } catch (error) {
      // Out of inotify watches: the safety scan still sees it.
      this.#options.log(`process: ${this.id} cannot be watched: ${(error as Error).message}`);
    }
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    for (const wake of this.#waiting) wake();
  }

  removed(): void {
    this.#gone.abort();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
    });
  }

  async #read(): Promise<Observation> {
    const { intent, shim, child, ending } = await readInstance(this.folder, this.#options.key);
    this.intent = intent;
    this.child = child;
    this.#shim = shim;
    if (ending) return this.#endedAs(ending);
    if (shim === null) return this.#preparing("not started yet");
    if (await isAlive(shim)) return child && intent ? this.#running(intent, child) : this.#preparing("starting");
    // It may have written the end between the two looks.
    return this.#endedAs((await readEnding(this.folder)) ?? (await this.#bury(intent)));
  }

  /** The shim was killed: nobody knows any more how the program ends, so it ends now. */
  async #bury(intent: Intent | null): Promise<Ending> {
    if (intent) await killAll(intent.mark, intent.cgroup.dirs, true);
    const ending: Ending = { exit: { code: null, signal: null, oom: false, at: Date.now(), evidence: "lost" } };
    await writeWhole(join(this.folder, "exit.json"), ending, true);
    return ending;
  }

  #preparing(message: string): Observation {
    return { id: this.id, generation: this.generation, at: Date.now(), phase: "preparing", message };
  }

  #running(intent: Intent, child: Child): Observation {
    return {
      id: this.id,
      generation: this.generation,
      at: Date.now(),
      phase: "running",
      started_at: child.started_at,
      address: `${this.#options.advertise}:${intent.port}`,
      image_digest: null,
      notes: notesOf(intent, child),
      ...(intent.ports.length > 0 ? { ports: intent.ports } : {}),
    };
  }

  #endedAs(ending: Ending): Observation {
    const seen = { id: this.id, generation: this.generation };
    if ("exit" in ending) return { ...seen, at: ending.exit.at, phase: "exited", exit: ending.exit };
    const { code, message } = ending.failed;
    const program = this.intent?.program ?? "the program";
    const reason =
      code === "ENOENT"
        ? "command_not_found"
        : code === "EACCES" || code === "EPERM"
          ? "permission_denied"
          : "start_failed";
    const said = {
      command_not_found: `command: ${program} cannot be started, it or its interpreter is not there`,
      permission_denied: `command: user ${this.intent?.uid ?? "of the agent"} may not execute ${program}, or not go to its working folder`,
      start_failed: `command: ${program} cannot be started: ${message}`,
    }[reason];
    return {
      ...seen,
      at: ending.at,
      phase: "failed",
      failure: { kind: "create_container_error", reason, message: said },
    };
  }
}

function notesOf(intent: Intent, child: Child): Note[] {
  const entered = child.cgroup_faults[0] ?? null;
  const note = (what: "memory" | "cpu", reason: string | null): Note[] =>
    reason === null
      ? []
      : [{ code: `${what}_unenforced`, message: `The ${what} limit is not enforced on this host: ${reason}` }];
  const { memory, cpu } = intent.unenforced;
  const limited = intent.memory_limit_bytes !== null;
  return [...note("memory", memory ?? (limited ? entered : null)), ...note("cpu", cpu)];
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
