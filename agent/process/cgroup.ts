import { readFileSync } from "node:fs";
import { access, constants, mkdir, readdir, readFile, rmdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Control groups of Linux, version 2 or 1: what enforces the limits of a process, counts what it uses, and finds all that it started. Where
 * they cannot be written, `unavailable` says why, and everything else still works without them.
 */

const CONTROLLERS = ["memory", "cpu", "cpuacct", "pids"] as const;
type Controller = (typeof CONTROLLERS)[number];

const CPU_PERIOD_US = 100_000;
/** The kernel's least quota. */
const CPU_QUOTA_LEAST_US = 1_000;

/** The cgroup of all shims. */
const SHIMS = "shims";
const LEFT_AFTER_MS = 3600_000;

export type Limits = { memoryBytes: number | null; cpuMillis: number | null };

/** The folder in which ours are made, per controller; with version 2 they are all the same. */
type Bases = { version: 1 | 2; of: Partial<Record<Controller, string>> };

export type Usage = { memoryBytes: number; cpuMs: number; pids: number; pidsLimit: number };

export class Cgroups {
  readonly #bases: Bases | null;
  readonly unavailable: string;

  private constructor(bases: Bases | null, unavailable: string) {
    this.#bases = bases;
    this.unavailable = unavailable;
  }

  /** Finds where this agent may make cgroups. */
  static async find(): Promise<Cgroups> {
    if (process.platform !== "linux") return new Cgroups(null, `${process.platform} has no cgroups`);
    const mounts = readMounts();
    const own = readOwnPaths();
    const faults: string[] = [];
    const of: Partial<Record<Controller, string>> = {};
    for (const controller of CONTROLLERS) {
      const mount = mounts.find(({ type, options }) => type === "cgroup" && options.includes(controller));
      if (!mount) continue;
      const base = await firstUsable(mount.path, own.get(controller) ?? "/", (parent) => makeBase(parent), faults);
      if (base) of[controller] = base;
    }
    if (Object.keys(of).length > 0) return new Cgroups({ version: 1, of }, "");
    const unified = mounts.find(({ type }) => type === "cgroup2");
    if (unified) {
      const base = await firstUsable(unified.path, own.get("") ?? "/", makeUnifiedBase, faults);
      if (base) {
        const has = new Set((await readFile(join(base, "cgroup.controllers"), "utf8")).trim().split(" "));
        for (const controller of ["memory", "cpu", "pids"] as const) if (has.has(controller)) of[controller] = base;
        return new Cgroups({ version: 2, of }, "");
      }
    }
    return new Cgroups(null, faults[0] ?? "no cgroup file system is mounted");
  }

  /** Makes the cgroup of one instance, or finds it made, with these limits. What could not be enforced comes back as the reason. */
  async make(name: string, limits: Limits): Promise<{ dirs: string[]; memory: string | null; cpu: string | null }> {
    const none = (reason: string) => ({
      dirs: [],
      memory: limits.memoryBytes === null ? null : reason,
      cpu: limits.cpuMillis === null ? null : reason,
    });
    const bases = this.#bases;
    if (!bases) return none(this.unavailable);
    const dirs = this.dirs(name);
    try {
      await Promise.all(dirs.map((dir) => mkdir(dir, { recursive: true })));
    } catch (error) {
      return none((error as Error).message);
    }
    const enforce = async (
      controller: "memory" | "cpu",
      write: (dir: string) => Promise<void>,
    ): Promise<string | null> => {
      const base = bases.of[controller];
      if (base === undefined) return `the ${controller} controller of cgroups is not available to the agent`;
      try {
        await write(join(base, name));
        return null;
      } catch (error) {
        return (error as Error).message;
      }
    };
    const { memoryBytes, cpuMillis } = limits;
    return {
      dirs,
      memory:
        memoryBytes === null ? null : await enforce("memory", (dir) => limitMemory(bases.version, dir, memoryBytes)),
      cpu: cpuMillis === null ? null : await enforce("cpu", (dir) => limitCpu(bases.version, dir, cpuMillis)),
    };
  }

  /** Where the cgroup of an instance is, or would be. */
  dirs(name: string): string[] {
    return [...new Set(Object.values(this.#bases?.of ?? {}))].map((parent) => join(parent, name));
  }

  /** By which files a process leaves an instance's cgroup again: where all shims are kept. */
  async home(): Promise<string[]> {
    const dirs = (await this.make(SHIMS, { memoryBytes: null, cpuMillis: null })).dirs;
    return dirs.map(procsOf);
  }

  /** Takes away what was left behind when the folder of an agent was deleted under it: empty cgroups, long after they were made. */
  async sweep(now: number = Date.now()): Promise<void> {
    for (const base of new Set(Object.values(this.#bases?.of ?? {}))) {
      for (const entry of await readdir(base, { withFileTypes: true }).catch(() => [])) {
        if (!entry.isDirectory() || entry.name === SHIMS) continue;
        const dir = join(base, entry.name);
        const isOld = await stat(dir).then(
          ({ mtimeMs }) => now - mtimeMs > LEFT_AFTER_MS,
          () => false,
        );
        // The kernel keeps one in which something runs.
        if (isOld) await rmdir(dir).catch(() => {});
      }
    }
  }

  /** The file that counts the kills for want of memory in a cgroup. */
  oomFiles(name: string): string[] {
    const base = this.#bases?.of.memory;
    return base === undefined
      ? []
      : [join(base, name, this.#bases?.version === 2 ? "memory.events" : "memory.oom_control")];
  }

  async usage(name: string): Promise<Partial<Usage>> {
    const bases = this.#bases;
    if (!bases) return {};
    const read = async (controller: Controller, file: string): Promise<string | null> => {
      const base = bases.of[controller];
      if (base === undefined) return null;
      return readFile(join(base, name, file), "utf8").catch(() => null);
    };
    const two = bases.version === 2;
    const memory = await read("memory", two ? "memory.current" : "memory.usage_in_bytes");
    const memoryStat = await read("memory", "memory.stat");
    const cpu = two ? await read("cpu", "cpu.stat") : await read("cpuacct", "cpuacct.usage");
    const pids = await read("pids", "pids.current");
    const pidsLimit = await read("pids", "pids.max");
    const cache = Number(/^(?:total_)?inactive_file (\d+)$/m.exec(memoryStat ?? "")?.[1] ?? 0);
    const cpuMs =
      cpu === null ? null : two ? Number(/^usage_usec (\d+)$/m.exec(cpu)?.[1] ?? 0) / 1e3 : Number(cpu) / 1e6;
    return {
      ...(memory === null ? {} : { memoryBytes: Math.max(0, Number(memory) - cache) }),
      ...(cpuMs === null ? {} : { cpuMs }),
      ...(pids === null ? {} : { pids: Number(pids) }),
      ...(pidsLimit === null ? {} : { pidsLimit: Number.parseInt(pidsLimit, 10) || 0 }),
    };
  }
}

export const procsOf = (dir: string): string => join(dir, "cgroup.procs");

/** Every process in these cgroups. */
export function pidsIn(dirs: readonly string[]): number[] {
  const pids = new Set<number>();
  for (const dir of dirs) {
    try {
      for (const line of readFileSync(procsOf(dir), "utf8").split("\n")) if (line !== "") pids.add(Number(line));
    } catch {
      // Not there, so nothing is in it.
    }
  }
  return [...pids];
}

/** Takes away cgroups in which nothing runs any more. Succeeds when they are not there. */
export async function removeCgroups(dirs: readonly string[]): Promise<void> {
  for (const dir of dirs) {
    for (let attempt = 0; ; attempt++) {
      try {
        await rmdir(dir);
        break;
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === "ENOENT") break;
        // The kernel lets go of a process a moment after it has ended.
        if (code !== "EBUSY" || attempt === 50) throw error;
        await sleep(Math.min(50, 2 ** attempt));
      }
    }
  }
}

async function limitMemory(version: 1 | 2, dir: string, bytes: number): Promise<void> {
  if (version === 2) {
    await writeFile(join(dir, "memory.max"), String(bytes));
    await writeFile(join(dir, "memory.swap.max"), "0").catch(ignoreMissing);
    return;
  }
  const memory = () => writeFile(join(dir, "memory.limit_in_bytes"), String(bytes));
  const withSwap = () => writeFile(join(dir, "memory.memsw.limit_in_bytes"), String(bytes)).catch(ignoreMissing);
  // The first may at no moment be the higher one: to raise both, the second goes first.
  await memory().catch(() => withSwap().then(memory));
  await withSwap();
}

async function limitCpu(version: 1 | 2, dir: string, millis: number): Promise<void> {
  const quota = Math.max(CPU_QUOTA_LEAST_US, Math.round((millis * CPU_PERIOD_US) / 1000));
  if (version === 2) return writeFile(join(dir, "cpu.max"), `${quota} ${CPU_PERIOD_US}`);
  await writeFile(join(dir, "cpu.cfs_period_us"), String(CPU_PERIOD_US));
  await writeFile(join(dir, "cpu.cfs_quota_us"), String(quota));
}

/** Kernels without accounting of swap do not have the file. */
function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT" && error.code !== "EACCES") throw error;
}

function readMounts(): { type: string; path: string; options: string[] }[] {
  const lines = readFileSync("/proc/self/mounts", "utf8").trim().split("\n");
  return lines
    .map((line) => line.split(" "))
    .map(([, path, type, options]) => ({ type: type ?? "", path: path ?? "", options: (options ?? "").split(",") }))
    .filter(({ type }) => type === "cgroup" || type === "cgroup2");
}

/** The cgroup that this process is in, by controller; version 2's under the empty name. */
function readOwnPaths(): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of readFileSync("/proc/self/cgroup", "utf8").trim().split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    for (const controller of (controllers ?? "").split(",")) paths.set(controller, path ?? "/");
  }
  return paths;
}

/** Tries every ancestor of the agent's own cgroup, outermost first: there an end of the agent's own unit does not end its workloads. */
async function firstUsable(
  mount: string,
  own: string,
  make: (parent: string) => Promise<string>,
  faults: string[],
): Promise<string | null> {
  const segments = own.split("/").filter(Boolean);
  for (let depth = 0; depth <= segments.length; depth++) {
    try {
      return await make(join(mount, ...segments.slice(0, depth)));
    } catch (error) {
      faults.push((error as Error).message);
    }
  }
  return null;
}

async function makeBase(parent: string): Promise<string> {
  const base = join(parent, "lamplighter");
  await mkdir(base, { recursive: true });
  // It may be there already, and another user's.
  await access(base, constants.W_OK);
  // In an overmounted or read-only tree the folder may be made without becoming a cgroup.
  await readFile(procsOf(base));
  return base;
}

async function makeUnifiedBase(parent: string): Promise<string> {
  const wanted = (await readFile(join(parent, "cgroup.controllers"), "utf8")).trim().split(" ");
  if (!wanted.includes("memory")) throw new Error(`${parent} has no memory controller`);
  const enable = ["memory", "cpu", "pids"].filter((name) => wanted.includes(name)).map((name) => `+${name}`);
  await writeFile(join(parent, "cgroup.subtree_control"), enable.join(" "));
  const base = await makeBase(parent);
  await writeFile(join(base, "cgroup.subtree_control"), enable.join(" "));
  return base;
}
