import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

export type Running = { pid: number; parent: number; command: string };

/** The processes of this machine with their command lines, as far as they may be seen. */
export function processes(): Running[] {
  return process.platform === "linux" ? fromProc() : fromPs();
}

/** Whether there is such a process; one that has ended and was not asked for its exit code yet has let go of everything. */
export function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/^.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

export const commandOf = (pid: number): string | null => processes().find((one) => one.pid === pid)?.command ?? null;

function fromProc(): Running[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const command = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0").join(" ").trim();
        // The name in parentheses may itself hold spaces and parentheses.
        const parent = Number(/^.*\) \S (\d+)/s.exec(readFileSync(`/proc/${entry}/stat`, "utf8"))?.[1]);
        return command === "" ? [] : [{ pid: Number(entry), parent, command }];
      } catch {
        return [];
      }
    });
}

function fromPs(): Running[] {
  const text = execFileSync("ps", ["-axww", "-o", "pid=,ppid=,command="], {
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  return text.split("\n").flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line);
    return match === null
      ? []
      : [{ pid: Number(match[1]), parent: Number(match[2]), command: (match[3] as string).trim() }];
  });
}
