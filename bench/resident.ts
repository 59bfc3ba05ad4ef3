// What workerd has in memory, as Linux tells it.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const EVICTED_AFTER_MS = 14_000;

/** Objects that nobody asks anything are put out of memory after ten seconds or so. */
export async function untilEvicted(pid: number): Promise<void> {
  await sleep(EVICTED_AFTER_MS);
  for (let objects = Number.POSITIVE_INFINITY; ; await sleep(1000)) {
    const now = usage(pid).objects;
    if (now >= objects) return;
    objects = now;
  }
}

/** An object in memory has its database open. */
/** Bytes, and how many objects are in memory. */
export function usage(pid: number): { rss: number; objects: number } {
  const kilobytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  const open = readdirSync(`/proc/${pid}/fd`).map((fd) => target(`/proc/${pid}/fd/${fd}`));
  return {
    rss: kilobytes * 1024,
    objects: open.filter((path) => path.endsWith(".sqlite") && !path.endsWith("/metadata.sqlite")).length,
  };
}

function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return "";
  }
}
