import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Connection } from "../../postgres/connection.ts";
import { isAlive, isStopped, type Pid, signal, startOf } from "../process/pid.ts";
import type { Installation } from "./binaries.ts";
import { countClients } from "./clients.ts";
import { meetsDamage } from "./damage.ts";
import { SUPERUSER } from "./parameters.ts";
import { programOf, type Surroundings } from "./program.ts";
import { endReaders } from "./reader.ts";

export type Place = { pgdata: string; socketFolder: string; port: number };

export type Launch = Surroundings & {
  configFile: string;
  logFile: string;
  /** These go before what the file says. */
  settings?: Record<string, string>;
};

/** How often a starting PostgreSQL is looked at. Its start takes some tens of milliseconds. */
const PROBE_EVERY_MS = 2;
/** How often it is tried whatever its file says. */
const KNOCK_EVERY_MS = 200;
/** Of postmaster.pid, counted from 0. */
const STATUS_LINE = 7;
const LOOK_EVERY_MS = 100;
const FAST_STOP_MS = 20_000;
const KILL_MS = 5_000;
const COUNT_MS = 3_000;

/** A PostgreSQL that runs, whoever started it. */
export class Postmaster {
  readonly place: Place;
  readonly pid: Pid;
  #child: ChildProcess | null;

  /** Resolves once it is started, which is long before it can be used; see `ready`. It outlives the agent. */
  static async start(
    installation: Installation,
    place: Place,
    { configFile, logFile, account, folders, limits, settings = {} }: Launch,
  ): Promise<Postmaster> {
    const options = Object.entries({ config_file: configFile, ...settings }).flatMap(([name, value]) => [
      "-c",
      `${name}=${value}`,
    ]);
    const log = await open(logFile, "a", 0o640);
    try {
      const program = programOf(installation, "postgres", ["-D", place.pgdata, ...options], {
        account,
        folders,
        limits,
      });
      const child = spawn(program.file, program.args, {
        ...program.options,
        detached: true,
        stdio: ["ignore", log.fd, log.fd],
      });
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", (error) => reject(new Error(`PostgreSQL cannot be started: ${error.message}`)));
      });
      child.unref();
      const own = { pid: child.pid as number, start: (await startOf(child.pid as number)) ?? "" };
      const pid = installation.image === undefined ? own : await containedIn(child, place.pgdata);
      return new Postmaster(place, pid ?? own, child);
    } finally {
      await log.close();
    }
  }

  /** The one that runs on a data folder already. */
  static async find(place: Place): Promise<Postmaster | null> {
    const pid = await runningOn(place.pgdata);
    return pid === null ? null : new Postmaster(place, pid, null);
  }

  private constructor(place: Place, pid: Pid, child: ChildProcess | null) {
    this.place = place;
    this.pid = pid;
    this.#child = child;
  }

  async isAlive(): Promise<boolean> {
    if (this.#child && (this.#child.exitCode !== null || this.#child.signalCode !== null)) return false;
    return isAlive(this.pid);
  }

  /** The agent's own connection, once there can be one: the log has been replayed then. Throws when it ends instead, or takes too long. */
  async ready(timeoutMs: number): Promise<Connection> {
    const end = performance.now() + timeoutMs;
    let knockAt = performance.now() + KNOCK_EVERY_MS;
    for (let last = "it does not answer"; ; ) {
      if ((await this.#saysReady()) || performance.now() >= knockAt) {
        knockAt = performance.now() + KNOCK_EVERY_MS;
        try {
          return await this.connect("postgres");
        } catch (error) {
          // It would not get better.
          if (meetsDamage(error)) throw error;
          last = (error as Error).message;
        }
      }
      if (!(await this.isAlive())) throw new Error("PostgreSQL ended while it was starting");
      if (performance.now() > end) throw new Error(`PostgreSQL is not ready after ${timeoutMs} ms: ${last}`);
      await sleep(PROBE_EVERY_MS);
    }
  }

  /** By its own file, as pg_ctl reads it: each connection that comes too early is a process more that it has to start. */
  async #saysReady(): Promise<boolean> {
    const lines = (await readFile(join(this.place.pgdata, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
    return Number(lines[0]) === this.pid.pid && lines[STATUS_LINE]?.trim() === "ready";
  }

  /** Resolves when it has ended, or with `stop`. */
  async ended(stop: AbortSignal): Promise<void> {
    while (!stop.aborted && (await this.isAlive()))
      await sleep(LOOK_EVERY_MS, undefined, { signal: stop, ref: false }).catch(() => {});
  }

  connect(database: string): Promise<Connection> {
    const { socketFolder, port } = this.place;
    return Connection.open({
      ...{ host: socketFolder, port, user: SUPERUSER, database, timeoutMs: 2_000 },
      applicationName: "lamplighter agent",
    });
  }

  /** Lets transactions fail and sessions end, and writes everything out. Ends it by force when that takes too long. */
  async stop(timeoutMs: number = FAST_STOP_MS): Promise<void> {
    if (!isStopped(this.pid.pid)) {
      signal(this.pid.pid, "SIGINT");
      if (await this.#isGone(timeoutMs)) return;
    }
    await this.stopAtOnce();
  }

  /**
   * Ends it as `stop` does, but only if nobody is connected; answers how many are. While it is halted nobody is let in, and who knocks then finds
   * it shutting down. Does not wait for the end.
   */
  async stopUnused(): Promise<number> {
    const connection = await this.connect("postgres");
    const timer = setTimeout(() => connection.destroy(new Error("PostgreSQL does not answer")), COUNT_MS);
    try {
      signal(this.pid.pid, "SIGSTOP");
      const clients = await countClients(connection, () =>
        processesOf(this.place.pgdata).filter((pid) => pid !== this.pid.pid),
      );
      if (clients > 0) return clients;
      // PostgreSQL would wait for them to have taken all that there is.
      await endReaders(connection);
      signal(this.pid.pid, "SIGINT");
      return clients;
    } finally {
      this.letGoOn();
      clearTimeout(timer);
      connection.end();
    }
  }

  /** An agent that died as it counted may have left it halted. */
  letGoOn(): void {
    signal(this.pid.pid, "SIGCONT");
  }

  /** As a crash: the log is replayed at the next start. Also ends one that is stopped (SIGSTOP). */
  async stopAtOnce(): Promise<void> {
    if (await this.isAlive()) signal(this.pid.pid, "SIGQUIT");
    if (!(await this.#isGone(200))) await killCluster(this.place.pgdata, this.pid);
    if (!(await this.#isGone(KILL_MS))) throw new Error(`PostgreSQL (process ${this.pid.pid}) does not end`);
  }

  async #isGone(timeoutMs: number): Promise<boolean> {
    const end = performance.now() + timeoutMs;
    while (await this.isAlive()) {
      if (performance.now() > end) return false;
      await sleep(2);
    }
    return true;
  }
}

/** The postmaster that an engine has started; null when that has ended instead. */
async function containedIn(engine: ChildProcess, pgdata: string): Promise<Pid | null> {
  while (engine.exitCode === null && engine.signalCode === null) {
    const pid = await runningOn(pgdata);
    if (pid !== null) return pid;
    await sleep(PROBE_EVERY_MS);
  }
  return null;
}

/** The postmaster of a data folder. The number in its file may be another program's by now. */
export async function runningOn(pgdata: string): Promise<Pid | null> {
  const text = await readFile(join(pgdata, "postmaster.pid"), "utf8").catch(() => "");
  const pid = Number(text.split("\n")[0]);
  if (!Number.isInteger(pid) || pid <= 1) return null;
  const start = await startOf(pid);
  if (start === null || !worksIn(pid, pgdata)) return null;
  return { pid, start };
}

/** SIGKILL to the postmaster first, so that it starts nothing more, and then to every process that works in its data folder. */
export async function killCluster(pgdata: string, postmaster: Pid): Promise<void> {
  if (await isAlive(postmaster)) signal(postmaster.pid, "SIGKILL");
  for (const pid of processesOf(pgdata)) signal(pid, "SIGKILL");
  await rm(join(pgdata, "postmaster.pid"), { force: true });
}

/** Every PostgreSQL process that works in a data folder. Linux only; elsewhere none. */
export function processesOf(pgdata: string): number[] {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid && isPostgres(pid) && worksIn(pid, pgdata));
}

/** PostgreSQL's processes have their data folder as their working folder. Elsewhere than on Linux it is taken for granted. */
function worksIn(pid: number, pgdata: string): boolean {
  if (process.platform !== "linux") return true;
  try {
    return readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, "") === pgdata;
  } catch {
    return false;
  }
}

function isPostgres(pid: number): boolean {
  try {
    return /^(postgres|postmaster)$/.test(readFileSync(`/proc/${pid}/comm`, "utf8").trim());
  } catch {
    return false;
  }
}
