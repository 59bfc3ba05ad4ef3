import { link, rm, rmdir, writeFile } from "node:fs/promises";
import { release, type } from "node:os";
import { join } from "node:path";
import type { LogQuery } from "../../contract/frame.ts";
import type { ExecResult, InstanceStats, LogLine, Observation, Workload } from "../../contract/workload.ts";
import type { Driver, Found } from "../driver.ts";
import { Cgroups, pidsIn, removeCgroups } from "./cgroup.ts";
import { filesFolders, outsideBase, prepare, workFolders } from "./create.ts";
import { execute } from "./exec.ts";
import type { Fault } from "./fault.ts";
import { Folders, isSafeId, makeFolder, readInstance, removeFolder } from "./folder.ts";
import { Instance } from "./instance.ts";
import { kill, killAll } from "./kill.ts";
import { pruneLogs, readLogs } from "./logs.ts";
import { isAlive, signal, startOf } from "./pid.ts";
import { type PortRange, Ports } from "./port.ts";
import { shimScript } from "./script.ts";
import { SpareShim } from "./spare.ts";
import { Meter } from "./stats.ts";

/** The safety scan: what a lost notification would leave unseen is seen then. */
const SCAN_MS = 3_000;
/** From the start of a shim to the start of its program. */
const START_MS = 20_000;
/** From SIGKILL to the end. */
const KILL_MS = 5_000;

export type ProcessOptions = {
  dataDir: string;
  /** From which $PORT is chosen. */
  portRange?: PortRange;
  /** Under which address the host is reached by those who use its workloads. */
  advertiseAddress?: string;
  /** Where the control plane answers. */
  controlUrl?: string;
  log: (line: string) => void;
};

/** Runs commands of the host as plain processes, each with a shim beside it that outlives the agent. */
export class ProcessDriver implements Driver {
  readonly runtime = "process";
  readonly #options: ProcessOptions;
  readonly #folders: Folders;
  readonly #ports: Ports;
  readonly #instances = new Map<string, Instance>();
  #cgroups: Cgroups | null = null;
  #meter: Meter | null = null;
  #shims: SpareShim | null = null;
  #observe: (observation: Observation) => void = () => {};
  #scan: NodeJS.Timeout | null = null;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.#folders = new Folders(options.dataDir);
    this.#ports = new Ports(options.portRange ?? { from: 20_000, to: 29_999 });
  }

  async detect(): Promise<string | null> {
    return `${type()} ${release()}`;
  }

  async start(observe: (observation: Observation) => void): Promise<Found[]> {
    this.#observe = observe;
    await makeFolder(this.#folders.root, 0o711);
    this.#cgroups = await Cgroups.find();
    this.#meter = new Meter(this.#cgroups);
    if (this.#cgroups.unavailable) this.#options.log(`process: limits are not enforced, ${this.#cgroups.unavailable}`);
    this.#shims = new SpareShim({ script: await shimScript(this.#folders.root), log: this.#options.log });
    await this.#cgroups.sweep();
    const found: Found[] = [];
    for (const { id, generation } of await this.#folders.list()) {
      const instance = this.#instance(id, generation);
      const observation = await instance.look();
      const { intent } = instance;
      if (intent)
        for (const port of [intent.port, ...intent.ports.map(({ published }) => published)])
          this.#ports.hold(port, intent.mark);
      found.push({ id, generation, owner: instance.intent?.owner ?? "", observation });
    }
    this.#scan = setInterval(() => {
      for (const instance of this.#instances.values()) instance.scan();
    }, SCAN_MS);
    this.#scan.unref();
    return found;
  }

  async apply(workload: Workload, abort: AbortSignal): Promise<Observation> {
    const { id, generation } = workload;
    const fail = (fault: Fault): Observation => ({ id, generation, at: Date.now(), phase: "failed", failure: fault });
    if (!this.#cgroups || !this.#shims) throw new Error("the process driver was not started");
    let isShimOver = false;
    let instance = this.#instances.get(keyOf(id, generation));
    if (instance === undefined || (await instance.look()).phase === "preparing") {
      const written = instance ? await readInstance(instance.folder, this.#folders.key) : null;
      if (!written?.shim) {
        await pruneLogs(this.#folders, id);
        const intent = await prepare(workload, {
          folders: this.#folders,
          cgroups: this.#cgroups,
          ports: this.#ports,
          controlUrl: this.#options.controlUrl,
        });
        if ("reason" in intent) return fail(intent);
        instance = this.#instance(id, generation);
        const touched = instance;
        touched.watch();
        this.#shims.use(touched.folder, () => {
          isShimOver = true;
          touched.touch();
        });
      }
    }
    const made = instance as Instance;
    const isUp = (observation: Observation): boolean => observation.phase !== "preparing";
    await made.until((observation) => isUp(observation) || isShimOver, START_MS, abort);
    const seen = await made.look();
    if (abort.aborted || isUp(seen)) return seen;
    const message = isShimOver ? "its shim ended by itself" : `it was not started within ${START_MS / 1000} s`;
    return fail({ kind: "error", reason: "start_failed", message: `The program was not started: ${message}.` });
  }

  async remove(id: string, generation: number, stopTimeoutMs: number): Promise<void> {
    // An id that cannot name a folder was refused, so there is nothing of it.
    if (!isSafeId(id)) return;
    const key = keyOf(id, generation);
    const mark = this.#folders.mark(id, generation);
    const instance = this.#instance(id, generation);
    const { folder } = instance;
    await claimAgainstShims(folder);
    const { shim } = await readInstance(folder, this.#folders.key);
    if (shim && shim.pid !== process.pid && (await isAlive(shim))) {
      const seen = await instance.until((observation) => observation.phase !== "preparing", START_MS);
      const { child, intent } = await readInstance(folder, this.#folders.key);
      if (seen.phase === "running" && child) {
        const ended = (observation: Observation): boolean => observation.phase !== "running";
        if (stopTimeoutMs > 0) {
          signal(-child.pid, "SIGTERM");
          await instance.until(ended, stopTimeoutMs);
        }
        if (!(await instance.ended())) {
          signal(-child.pid, "SIGKILL");
          kill(pidsIn(intent?.cgroup.dirs ?? []));
          await instance.until(ended, KILL_MS);
        }
      }
      await instance.untilDead(shim, KILL_MS);
      if (await isAlive(shim)) signal(shim.pid, "SIGKILL");
    }
    instance.close();
    const dirs = [...new Set([...(this.#cgroups?.dirs(mark) ?? []), ...(instance.intent?.cgroup.dirs ?? [])])];
    await killAll(mark, dirs);
    await removeCgroups(dirs);
    for (const path of filesFolders(this.#folders, id, generation)) await removeFolder(path);
    await removeFolder(folder);
    this.#ports.release(mark);
    this.#meter?.forget(mark);
    this.#instances.delete(key);
    instance.removed();
  }

  async forget(id: string): Promise<void> {
    if (!isSafeId(id)) return;
    for (const path of workFolders(this.#folders, id)) await removeFolder(path);
    await removeFolder(this.#folders.workload(id));
  }

  logs(query: LogQuery, abort: AbortSignal): AsyncIterable<LogLine[]> {
    const removed = this.#instances.get(keyOf(query.workload_id, query.generation))?.gone ?? AbortSignal.abort();
    return readLogs(this.#folders, query, AbortSignal.any([abort, removed]));
  }

  async exec(id: string, generation: number, command: string[], timeoutMs: number): Promise<ExecResult> {
    const instance = this.#instances.get(keyOf(id, generation));
    const intent = instance && (await instance.look()).phase === "running" ? instance.intent : null;
    if (!intent) throw new Error(`${id} generation ${generation} is not running`);
    return execute(intent, command, timeoutMs);
  }

  async stats(ids: string[], reader = ""): Promise<InstanceStats[]> {
    const wanted = new Set(ids);
    const running = [...this.#instances.values()].filter((instance) => wanted.has(instance.id));
    return (await this.#meter?.measure(running, reader)) ?? [];
  }

  async close(): Promise<void> {
    if (this.#scan) clearInterval(this.#scan);
    this.#shims?.close();
    for (const instance of this.#instances.values()) instance.close();
    // Only when nothing is in it.
    await rmdir(outsideBase(this.#folders)).catch(() => {});
  }

  #instance(id: string, generation: number): Instance {
    const key = keyOf(id, generation);
    let instance = this.#instances.get(key);
    if (!instance) {
      instance = new Instance({
        id,
        generation,
        folder: this.#folders.instance(id, generation),
        key: this.#folders.key,
        advertise: this.#options.advertiseAddress ?? "127.0.0.1",
        observe: (observation) => this.#observe(observation),
        log: this.#options.log,
      });
      this.#instances.set(key, instance);
    }
    return instance;
  }
}

const keyOf = (id: string, generation: number): string => `${id} ${generation}`;

/**
 * Takes the folder's claim if no shim has it, so that none that a crash has left on its way can start the program any more. Does nothing
 * when the folder is not there.
 */
async function claimAgainstShims(folder: string): Promise<void> {
  const draft = join(folder, "shim.agent");
  try {
    const start = (await startOf(process.pid)) ?? "";
    await writeFile(draft, JSON.stringify({ pid: process.pid, start }), { mode: 0o600 });
    await link(draft, join(folder, "shim.json"));
  } catch {
    // A shim has it, or there is no folder.
  } finally {
    await rm(draft, { force: true }).catch(() => {});
  }
}
