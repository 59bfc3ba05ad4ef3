import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { z } from "zod";

const run = promisify(execFile);

/** One process, told apart from a later one that got the same number by when it was started. */
export const Pid = z.object({ pid: z.int().positive(), start: z.string() });
export type Pid = z.infer<typeof Pid>;

const LINUX = process.platform === "linux";

/** When the process was started, as a text to compare; null when there is no such process, or only its exit is left to be collected. */
export async function startOf(pid: number): Promise<string | null> {
  if (LINUX) return linuxStart(pid);
  try {
    const { stdout } = await run("ps", ["-o", "lstart=", "-p", String(pid)]);
    return stdout.trim() === "" ? null : stdout.trim();
  } catch {
    return null;
  }
}

function linuxStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const state = fields[0];
    return state === "Z" || state === "X" ? null : `${fields[19]}@${bootId()}`;
  } catch {
    return null;
  }
}

let boot: string | undefined;
/** Another one each time the machine was started. Null where the system does not tell. */
export function bootId(): string | null {
  if (!LINUX) return null;
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return boot;
}

export const isAlive = async (known: Pid): Promise<boolean> => (await startOf(known.pid)) === known.start;

/** Whether a process was stopped by SIGSTOP: it hears no signal but SIGKILL until it is let go on. Linux only; elsewhere false. */
export function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
  } catch {
    return false;
  }
}

/** Sends a signal to a process or, with a negative number, to a group. False when there is none. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}

/** The variable that marks every process of an instance, also those that left its process group. */
export const MARK = "LAMPLIGHTER_INSTANCE";

/** The processes whose environment, as it was when they were started, marks them as of this instance of this agent's data folder. */
export async function markedPids(mark: string): Promise<number[]> {
  const needle = `${MARK}=${mark}`;
  if (!LINUX) {
    const { stdout } = await run("ps", ["-axE", "-o", "pid=,command="], { maxBuffer: 64 * 1024 ** 2 }).catch(() => ({
      stdout: "",
    }));
    const lines = stdout.split("\n").filter((line) => line.split(" ").includes(needle));
    return lines.map((line) => Number.parseInt(line, 10)).filter((pid) => pid > 1 && pid !== process.pid);
  }
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      if (readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(needle)) found.push(pid);
    } catch {
      // Another user's process, or one that has just ended.
    }
  }
  return found;
}

/** The processes of a group, the group's leader first if it lives. Linux only; elsewhere the leader. */
export function pidsOfGroup(group: number): number[] {
  if (!LINUX) return [group];
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2]) === group) found.push(pid);
    } catch {
      // It has just ended.
    }
  }
  return found.sort((a, b) => Number(b === group) - Number(a === group));
}
