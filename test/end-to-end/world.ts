// What really runs, read from the machine itself: nothing here asks the control plane or an agent.
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import type Docker from "dockerode";
import { LABEL } from "../../agent/docker/naming.ts";
import { Folders } from "../../agent/process/folder.ts";
import { MARK } from "../../agent/process/pid.ts";

/** One instance that lives. `key` changes when it is started anew: the process's number and start, the container's id and start. */
export type Live = {
  instance: string;
  workload: string;
  generation: number;
  host: string;
  key: string;
  pids: number[];
};

export type World = {
  live: Live[];
  /** Instances that left something behind: an ended container, a folder. */
  remains: { instance: string; host: string; what: string }[];
  /** Shims at work, by instance; and those that wait for some. */
  shims: { instance: string; host: string; pid: number }[];
  spareShims: number;
};

/** Where an agent keeps its things, and as what it joined. */
export type Site = { name: string; dataDir: string };

export const hostIdOf = ({ dataDir }: Site): string | null => {
  const path = join(dataDir, "identity.json");
  if (!existsSync(path)) return null;
  return (JSON.parse(readFileSync(path, "utf8")) as { host_id?: string }).host_id ?? null;
};

type Seen = { pid: number; group: number; start: string; mark: string | null; command: string };

/** The processes of this machine, with the instance that their environment says they are of. */
function processes(): Seen[] {
  return process.platform === "linux" ? fromProc() : fromPs();
}

const MARKED = new RegExp(`(?:^|\\0)${MARK}=([^\\0]*)`);

function fromProc(): Seen[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const command = textOf(`/proc/${name}/cmdline`).replaceAll("\0", " ").trim();
      // The kernel's own, and those that have ended.
      if (command === "") return [];
      const mark = MARKED.exec(textOf(`/proc/${name}/environ`))?.[1] ?? null;
      const stat = textOf(`/proc/${name}/stat`);
      const [state, , group, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (state === "Z" || state === "X") return [];
      return [{ pid: Number(name), group: Number(group), start: rest[16] as string, mark, command }];
    } catch {
      return [];
    }
  });
}

/** This is read many times a second. `readFileSync` would take a new buffer of 64 KiB for each file, as the kernel does not tell their sizes. */
const buffer = Buffer.alloc(1024 ** 2);

function textOf(path: string): string {
  const file = openSync(path, "r");
  try {
    for (let length = 0; ; ) {
      const read = readSync(file, buffer, length, buffer.length - length, null);
      if (read === 0) return buffer.toString("latin1", 0, length);
      length += read;
    }
  } finally {
    closeSync(file);
  }
}

function fromPs(): Seen[] {
  const text = execFileSync("ps", ["-axEww", "-o", "pid=,pgid=,lstart=,command="], {
    encoding: "utf8",
    maxBuffer: 64 * 1024 ** 2,
  });
  return text.split("\n").flatMap((line) => {
    const [, pid, group, start, command] = /^\s*(\d+)\s+(\d+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+(.*)$/.exec(line) ?? [];
    if (command === undefined) return [];
    const mark = new RegExp(` ${MARK}=(\\S+)`).exec(command)?.[1] ?? null;
    return [{ pid: Number(pid), group: Number(group), start: start as string, mark, command }];
  });
}

const tagOf = ({ dataDir }: Site): string => new Folders(dataDir).tag;

function split(mark: string): { workload: string; generation: number } | null {
  const match = /^(.*)-g(\d+)$/.exec(mark);
  return match ? { workload: match[1] as string, generation: Number(match[2]) } : null;
}

/** Everything of these agents on this machine. */
export async function world(sites: readonly Site[], engine: Docker | null): Promise<World> {
  const [ofProcesses, ofContainers] = [
    worldOfProcesses(sites),
    engine ? await worldOfContainers(sites, engine) : NOTHING,
  ];
  return {
    ...ofProcesses,
    live: [...ofProcesses.live, ...ofContainers.live],
    remains: [...ofProcesses.remains, ...ofContainers.remains],
  };
}

function worldOfProcesses(sites: readonly Site[]): World {
  const seen = processes();
  const byMark = Map.groupBy(
    seen.filter((one) => one.mark !== null),
    (one) => one.mark as string,
  );
  const found: World = { live: [], remains: [], shims: [], spareShims: 0 };
  for (const site of sites) {
    const tag = tagOf(site);
    for (const [mark, group] of byMark) {
      const named = mark.startsWith(`${tag}-`) ? split(mark.slice(tag.length + 1)) : null;
      if (named === null) continue;
      const leader = group.find((one) => one.pid === one.group) ?? (group[0] as Seen);
      const pids = [leader, ...group.filter((one) => one !== leader)].map(({ pid }) => pid);
      found.live.push({
        ...named,
        instance: `${named.workload}-g${named.generation}`,
        host: site.name,
        key: `process ${leader.pid}@${leader.start}`,
        pids,
      });
    }
    for (const { command, pid } of seen) {
      const instance = new RegExp(`^lamplighter-shim ${tag}-(\\S+)`).exec(command)?.[1];
      if (instance !== undefined) found.shims.push({ instance, host: site.name, pid });
      if (command.includes(`${join(site.dataDir, "process")}/shim-`)) found.spareShims++;
    }
    for (const workload of folders(join(site.dataDir, "process"))) {
      const generations = folders(join(site.dataDir, "process", workload)).filter((name) => /^g\d+$/.test(name));
      for (const name of generations)
        found.remains.push({ instance: `${workload}-${name}`, host: site.name, what: "folder" });
      if (generations.length === 0)
        found.remains.push({ instance: workload, host: site.name, what: "folder without an instance" });
    }
  }
  return found;
}

function folders(path: string): string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}

const NOTHING: Pick<World, "live" | "remains"> = { live: [], remains: [] };

async function worldOfContainers(sites: readonly Site[], engine: Docker): Promise<Pick<World, "live" | "remains">> {
  const found: Pick<World, "live" | "remains"> = { live: [], remains: [] };
  await Promise.all(
    sites.map(async (site) => {
      for (const { Id } of await containersOf(site, engine)) {
        const inspected = await engine.getContainer(Id).inspect().catch(gone);
        if (inspected === null) continue;
        const { State, Config } = inspected;
        const workload = Config.Labels[LABEL.workload] as string;
        const generation = Number(Config.Labels[LABEL.generation]);
        const instance = `${workload}-g${generation}`;
        if (!State.Running) found.remains.push({ instance, host: site.name, what: `container ${State.Status}` });
        else
          found.live.push({
            workload,
            generation,
            instance,
            host: site.name,
            key: `container ${Id.slice(0, 12)}@${State.StartedAt}`,
            pids: [State.Pid],
          });
      }
    }),
  );
  return found;
}

async function containersOf(site: Site, engine: Docker): Promise<Docker.ContainerInfo[]> {
  const host = hostIdOf(site);
  if (host === null) return [];
  for (;;) {
    const listed = await engine
      .listContainers({ all: true, filters: { label: [`${LABEL.host}=${host}`] } })
      .catch(gone);
    // Podman stumbles over a container that goes while it lists them.
    if (listed !== null) return listed;
  }
}

function gone(error: { statusCode?: number; message: string }): null {
  if (error.statusCode === 404 || (error.statusCode === 500 && /no such container/i.test(error.message))) return null;
  throw error;
}

/** The workloads of which two generations live at this moment. What was only seen twice because it changed in between is not told. */
export async function doubled(sites: readonly Site[], engine: Docker | null): Promise<string[]> {
  const suspects = doubles((await world(sites, engine)).live);
  if (suspects.size === 0) return [];
  const again = doubles((await world(sites, engine)).live);
  return [...suspects].flatMap(([workload, keys]) => {
    const both = keys.filter((key) => again.get(workload)?.includes(key));
    return both.length > 1 ? [`${workload} lives twice: ${both.join(", ")}`] : [];
  });
}

function doubles(live: readonly Live[]): Map<string, string[]> {
  const groups = [...Map.groupBy(live, ({ workload }) => workload)].filter(([, group]) => group.length > 1);
  return new Map(
    groups.map(([workload, group]) => [
      workload,
      group.map(({ generation, host, key }) => `g${generation} on ${host}, ${key}`),
    ]),
  );
}

/** Ends and removes everything of these agents, whatever state it is in. */
export async function sweep(sites: readonly Site[], engine: Docker | null): Promise<void> {
  for (let left = 200; left > 0; left--) {
    const found = processes().filter(({ mark, command }) =>
      sites.some(
        (site) =>
          mark?.startsWith(`${tagOf(site)}-`) ||
          command.startsWith(`lamplighter-shim ${tagOf(site)}-`) ||
          command.includes(`${site.dataDir}/`),
      ),
    );
    if (found.length === 0) break;
    for (const { pid } of found) if (pid !== process.pid) end(pid);
    await new Promise((done) => setTimeout(done, 10));
  }
  for (const site of sites) {
    await removeCgroups(tagOf(site));
    if (engine === null) continue;
    for (const { Id } of await containersOf(site, engine))
      await engine
        .getContainer(Id)
        .remove({ force: true, v: true })
        .catch(() => undefined);
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}

/** Those that the agent made below its own cgroup or an ancestor of it. The kernel lets go of a process a moment after it has ended. */
async function removeCgroups(tag: string): Promise<void> {
  if (process.platform !== "linux") return;
  for (let left = 20; left > 0; left--) {
    const found = spawnSync("find", ["/sys/fs/cgroup", "-depth", "-type", "d", "-name", `${tag}-*`], {
      encoding: "utf8",
    });
    const folders = found.stdout.split("\n").filter(Boolean);
    if (folders.length === 0) return;
    spawnSync("rmdir", folders, { stdio: "ignore" });
    await new Promise((done) => setTimeout(done, 20));
  }
}
