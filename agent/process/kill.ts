import { setTimeout as sleep } from "node:timers/promises";
import { pidsIn } from "./cgroup.ts";
import { markedPids, signal } from "./pid.ts";

/** How long processes may take to vanish after SIGKILL, ms. One that the kernel holds (a dead NFS mount) cannot be waited for for ever. */
const VANISH_MS = 5_000;

export function kill(pids: readonly number[]): void {
  for (const pid of pids) signal(pid, "SIGKILL");
}

/**
 * Ends every process of an instance, also those that left its group: all that its cgroups hold and, with `byMark` or without cgroups, all that
 * carry its mark in their environment. Throws when one is still there in the end.
 */
export async function killAll(mark: string, cgroupDirs: readonly string[], byMark = false): Promise<void> {
  const end = Date.now() + VANISH_MS;
  for (let wait = 1; ; wait = Math.min(100, wait * 2)) {
    const marked = byMark || cgroupDirs.length === 0 ? await markedPids(mark) : [];
    const left = [...new Set([...pidsIn(cgroupDirs), ...marked])];
    if (left.length === 0) return;
    kill(left);
    if (Date.now() > end) throw new Error(`processes ${left.join(", ")} do not end after SIGKILL`);
    await sleep(wait);
  }
}
