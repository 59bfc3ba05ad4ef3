import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { instanceId } from "../../contract/id.ts";
import type { InstanceStats } from "../../contract/workload.ts";
import { type Cgroups, pidsIn } from "./cgroup.ts";
import type { Instance } from "./instance.ts";
import { pidsOfGroup } from "./pid.ts";

const run = promisify(execFile);
/** CPU use is measured between two looks; the first look at an instance waits this long for its second, ms. */
const FIRST_GAP_MS = 200;
/** Of `/proc/<pid>/stat`: Linux gives 100 ticks a second to user space on every platform that Node runs on. */
const TICK_MS = 10;

type Look = {
  at: number;
  cpuMs: number;
  memoryBytes: number;
  pids: number;
  pidsLimit: number;
  readBytes: number;
  writeBytes: number;
};

/** Measures what instances use: from their cgroups where there are, else from all processes of their groups. */
export class Meter {
  readonly #cgroups: Cgroups;
  /** By reader, then by mark. */
  readonly #looks = new Map<string, Map<string, Look>>();

  constructor(cgroups: Cgroups) {
    this.#cgroups = cgroups;
  }

  async measure(instances: readonly Instance[], reader: string): Promise<InstanceStats[]> {
    const looks = this.#looks.get(reader) ?? new Map<string, Look>();
    this.#looks.set(reader, looks);
    const fresh = instances.filter(({ intent }) => intent && !looks.has(intent.mark));
    for (const instance of fresh) {
      const look = await this.#look(instance);
      if (look && instance.intent) looks.set(instance.intent.mark, look);
    }
    if (fresh.length > 0) await sleep(FIRST_GAP_MS);

    const stats: InstanceStats[] = [];
    for (const instance of instances) {
      const look = await this.#look(instance);
      const before = looks.get(instance.intent?.mark ?? "");
      if (!look || !before || !instance.intent) continue;
      looks.set(instance.intent.mark, look);
      const elapsed = look.at - before.at;
      const limit =
        instance.intent.unenforced.memory === null ? (instance.intent.memory_limit_bytes ?? totalmem()) : totalmem();
      stats.push({
        instance_id: instanceId(instance.id, instance.generation),
        instance_name: instanceId(instance.id, instance.generation),
        cpu_usage_percent: elapsed > 0 ? round(Math.max(0, ((look.cpuMs - before.cpuMs) / elapsed) * 100)) : 0,
        memory: {
          usage_bytes: look.memoryBytes,
          limit_bytes: limit,
          usage_percent: round((look.memoryBytes / limit) * 100),
        },
        // A process shares the host's network, and the kernel does not count per process.
        network: { rx_bytes: 0, tx_bytes: 0, rx_packets: 0, tx_packets: 0 },
        disk_io: { read_bytes: look.readBytes, write_bytes: look.writeBytes },
        pids: { current: look.pids, limit: look.pidsLimit },
      });
    }
    return stats;
  }

  forget(mark: string): void {
    for (const looks of this.#looks.values()) looks.delete(mark);
  }

  async #look({ intent, child }: Instance): Promise<Look | null> {
    if (!intent || !child) return null;
    if (process.platform !== "linux") return lookByPs(child.pid);
    const inCgroup = pidsIn(intent.cgroup.dirs);
    const pids = inCgroup.length > 0 ? inCgroup : pidsOfGroup(child.pid);
    if (pids.length === 0) return null;
    const look: Look = {
      at: performance.now(),
      cpuMs: 0,
      memoryBytes: 0,
      pids: pids.length,
      pidsLimit: 0,
      readBytes: 0,
      writeBytes: 0,
    };
    for (const pid of pids) addProcess(look, pid);
    return { ...look, ...(await this.#cgroups.usage(intent.mark)) };
  }
}

function addProcess(look: Look, pid: number): void {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    look.cpuMs += (Number(fields[11]) + Number(fields[12])) * TICK_MS;
    look.memoryBytes +=
      Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
    const io = readFileSync(`/proc/${pid}/io`, "utf8");
    look.readBytes += Number(/^read_bytes: (\d+)$/m.exec(io)?.[1] ?? 0);
    look.writeBytes += Number(/^write_bytes: (\d+)$/m.exec(io)?.[1] ?? 0);
  } catch {
    // It has just ended, or its I/O is not ours to see.
  }
}

async function lookByPs(group: number): Promise<Look | null> {
  const { stdout } = await run("ps", ["-axo", "pgid=,rss=,time="]).catch(() => ({ stdout: "" }));
  const rows = stdout
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([pgid]) => Number(pgid) === group);
  if (rows.length === 0) return null;
  const cpuMs = rows.reduce((sum, [, , time]) => sum + secondsOf(time ?? "") * 1000, 0);
  const memoryBytes = rows.reduce((sum, [, rss]) => sum + Number(rss) * 1024, 0);
  return { at: performance.now(), cpuMs, memoryBytes, pids: rows.length, pidsLimit: 0, readBytes: 0, writeBytes: 0 };
}

/** Of `[[dd-]hh:]mm:ss.cc`. */
function secondsOf(time: string): number {
  const [days, clock] = time.includes("-") ? time.split("-") : ["0", time];
  const seconds = (clock ?? "").split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return Number(days) * 86_400 + seconds;
}

const round = (value: number): number => Math.round(value * 100) / 100;
