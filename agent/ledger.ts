import { chmodSync, closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { HealthResult, Probing } from "../contract/health.ts";
import { Observation, type Runtime, type Workload, WorkloadSpec } from "../contract/workload.ts";
import { StateKey } from "./state-key.ts";

/**
 * What should be of a workload. `running` and `gone` were said by the control plane. `absent`: the control plane's full set left it out.
 * `unclaimed`: found on the host, and the control plane has not said anything about it since.
 */
export type Want = "running" | "gone" | "absent" | "unclaimed";

/** What is kept of a workload: the highest generation ever seen (its fence), and what was last accepted at that generation. */
export type Kept = {
  id: string;
  fence: number;
  want: Want;
  owner: string;
  probing: Probing;
  spec: WorkloadSpec | null;
  /** The last observation of the fence's generation, when it is final (exited, failed, gone) or says that it runs. */
  last: Observation | null;
  changedAt: number;
};

/** One generation of a workload that is, or may be, on this host. Written before a driver is called, deleted after it has removed it. */
export type Presence = { id: string; generation: number; runtime: Runtime; stopTimeoutMs: number };

/** What is kept of one health check of one instance. */
export const Tally = z.object({
  /** The newest result that is on disk: every failure, and whatever says something new. */
  last: HealthResult,
  /** The newest result that said something new. */
  told: HealthResult,
  /** Failures in a row that count towards the threshold being reached the next time. */
  toward: z.int().nonnegative(),
  /** It has been green once, and has been green for long enough once. */
  green: z.boolean(),
  ready: z.boolean(),
});
export type Tally = z.infer<typeof Tally>;
export type KeptTally = { id: string; generation: number; check: number; tally: Tally };

/** What brings the file up to date, from each version to the next. */
const SCHEMA = [
  `
  CREATE TABLE IF NOT EXISTS workload (
    id TEXT PRIMARY KEY, fence INTEGER NOT NULL, want TEXT NOT NULL, owner TEXT NOT NULL, spec TEXT, last TEXT, changed_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS presence (
    id TEXT NOT NULL, generation INTEGER NOT NULL, runtime TEXT NOT NULL, stop_timeout_ms INTEGER NOT NULL, PRIMARY KEY (id, generation)
  ) STRICT;
  PRAGMA user_version = 1;
`,
  `
  ALTER TABLE workload ADD COLUMN probing TEXT NOT NULL DEFAULT 'all';
  CREATE TABLE health (
    id TEXT NOT NULL, generation INTEGER NOT NULL, "check" INTEGER NOT NULL, tally TEXT NOT NULL, PRIMARY KEY (id, generation, "check")
  ) STRICT;
  -- When the agent last looked after its health checks.
  CREATE TABLE watch (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL) STRICT;
  PRAGMA user_version = 2;
`,
];

/**
 * The agent's memory across restarts, one SQLite file that only its owner may read. Specifications are sealed in it: they hold environment
 * values, files and passwords. What a method has returned from survives `kill -9` and a power cut. While open, no other agent can open the same folder's; the lock ends with the process.
 */
export class Ledger {
  readonly #db: DatabaseSync;
  readonly #key: StateKey;

  private constructor(db: DatabaseSync, key: StateKey) {
    this.#db = db;
    this.#key = key;
  }

  /** Throws a message for a person when another agent has it open. */
  static open(dataDir: string): Ledger {
    const path = join(dataDir, "ledger.db");
    if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
    chmodSync(path, 0o600);
    const db = new DatabaseSync(path);
    const pidPath = join(dataDir, "agent.pid");
    try {
      db.exec(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; COMMIT;",
      );
    } catch (error) {
      db.close();
      if (!/locked|busy/i.test((error as Error).message)) throw error;
      const pid = existsSync(pidPath) ? ` (process ${readFileSync(pidPath, "utf8").trim()})` : "";
      throw new Error(
        `Another agent${pid} works on ${dataDir}. Stop it first, or give this one a data folder of its own.`,
      );
    }
    const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
    for (const step of SCHEMA.slice(version)) db.exec(`BEGIN; ${step} COMMIT;`);
    writeFileSync(pidPath, `${process.pid}\n`);
    return new Ledger(db, StateKey.of(dataDir));
  }

  workloads(): Kept[] {
    return this.#db
      .prepare("SELECT * FROM workload")
      .all()
      .map((row) => ({
        id: row.id as string,
        fence: row.fence as number,
        want: row.want as Want,
        owner: row.owner as string,
        probing: Probing.parse(row.probing),
        spec: this.#openSpec(row.spec as string | null),
        last: row.last === null ? null : Observation.parse(JSON.parse(row.last as string)),
        changedAt: row.changed_at as number,
      }));
  }

  /** What should run on a runtime, as it was accepted. */
  running(runtime: Runtime): Workload[] {
    return this.workloads().flatMap(({ id, fence: generation, want, owner, spec }) =>
      want === "running" && spec?.runtime === runtime ? [{ id, generation, owner, want, spec }] : [],
    );
  }

  presences(): Presence[] {
    return this.#db
      .prepare("SELECT * FROM presence")
      .all()
      .map((row) => ({
        id: row.id as string,
        generation: row.generation as number,
        runtime: row.runtime as Runtime,
        stopTimeoutMs: row.stop_timeout_ms as number,
      }));
  }

  /** All of it or nothing. */
  keep(workloads: readonly Kept[], presences: readonly Presence[] = []): void {
    if (workloads.length + presences.length === 0) return;
    const workload = this.#db.prepare(
      "INSERT OR REPLACE INTO workload (id, fence, want, owner, probing, spec, last, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    );
    const presence = this.#db.prepare(
      "INSERT OR REPLACE INTO presence (id, generation, runtime, stop_timeout_ms) VALUES (?, ?, ?, ?)",
    );
    this.#transact(() => {
      for (const { id, fence, want, owner, probing, spec, last, changedAt } of workloads) {
        const specText = spec === null ? null : this.#key.seal(JSON.stringify(spec));
        workload.run(id, fence, want, owner, probing, specText, last === null ? null : JSON.stringify(last), changedAt);
      }
      for (const { id, generation, runtime, stopTimeoutMs } of presences)
        presence.run(id, generation, runtime, stopTimeoutMs);
    });
  }

  dropPresence(id: string, generation: number): void {
    this.#db.prepare("DELETE FROM presence WHERE id = ? AND generation = ?").run(id, generation);
  }

  /** Forgets workloads, their fences too. */
  forget(ids: readonly string[]): void {
    if (ids.length === 0) return;
    const statements = ["workload", "health"].map((table) => this.#db.prepare(`DELETE FROM ${table} WHERE id = ?`));
    this.#transact(() => {
      for (const id of ids) for (const statement of statements) statement.run(id);
    });
  }

  tallies(): KeptTally[] {
    return this.#db
      .prepare("SELECT * FROM health")
      .all()
      .map((row) => ({
        id: row.id as string,
        generation: row.generation as number,
        check: row.check as number,
        tally: Tally.parse(JSON.parse(row.tally as string)),
      }));
  }

  /** Keeps tallies, and forgets all of the dropped workloads. */
  keepTallies(tallies: readonly KeptTally[], dropped: readonly string[]): void {
    if (tallies.length + dropped.length === 0) return;
    const drop = this.#db.prepare("DELETE FROM health WHERE id = ?");
    const put = this.#db.prepare('INSERT OR REPLACE INTO health (id, generation, "check", tally) VALUES (?, ?, ?, ?)');
    this.#transact(() => {
      for (const id of dropped) drop.run(id);
      for (const { id, generation, check, tally } of tallies) put.run(id, generation, check, JSON.stringify(tally));
    });
  }

  /** When the agent last looked after its health checks, ms since 1970; null for never. */
  watchedAt(): number | null {
    return (this.#db.prepare("SELECT at FROM watch").get()?.at as number | undefined) ?? null;
  }

  noteWatch(at: number): void {
    this.#db.prepare("INSERT OR REPLACE INTO watch (one, at) VALUES (1, ?)").run(at);
  }

  close(): void {
    this.#db.close();
  }

  /** One that does not open (the key is gone) is as good as none: the control plane's next word brings it again. */
  #openSpec(text: string | null): WorkloadSpec | null {
    const clear = text === null ? null : this.#key.open(text);
    return clear === null ? null : WorkloadSpec.parse(JSON.parse(clear));
  }

  #transact(body: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      body();
      this.#db.exec("COMMIT");
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
  }
}
