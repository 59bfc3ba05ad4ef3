import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { distribution } from "./distribution.ts";
import type { Figure, Line } from "./figure.ts";
import { populate } from "./population.ts";

const EVICTED_AFTER_MS = 14_000;
const AT_ONCE = 32;

export const memory: Figure = {
  name: "memory",
  about: "resident memory of workerd per object in memory, and after they were evicted",
  measure: async ({ quick, say, after }) => {
    if (process.platform !== "linux") return { leftOut: "reads /proc, which only Linux has" };
    const lines: Line[] = [];
    for (const size of quick ? [100] : [1000, 5000]) {
      const { site, ids } = await populate(size, say, after);
      // A control plane that has made nothing, so that what making leaves behind is not counted.
      await site.killControlPlane();
      await site.startControlPlane();
      await untilEvicted(site.workerdPid);
      const before = usage(site.workerdPid);
      const started = performance.now();
      await readAll(ids, async (id) => void (await site.client.json("GET", `/deployments/${id}`)));
      const active = usage(site.workerdPid);
      say(
        `read ${size} in ${((performance.now() - started) / 1000).toFixed(1)} s: ${active.objects - before.objects} in memory`,
      );
      await untilEvicted(site.workerdPid);
      const rest = usage(site.workerdPid);
      const one = (what: string, unit: string, value: number): Line => ({
        what: `${size}: ${what}`,
        unit,
        ours: distribution([value]),
      });
      lines.push(
        one("started, at rest", "MB", before.rss / 1e6),
        one(`${active.objects - before.objects} objects in memory`, "MB", active.rss / 1e6),
        one("per object in memory", "KB", (active.rss - before.rss) / (active.objects - before.objects) / 1e3),
        one("at rest again", "MB", rest.rss / 1e6),
        one("open databases at rest", "objects", rest.objects),
      );
    }
    return lines;
  },
};

async function readAll(ids: readonly string[], read: (id: string) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let id = ids[next++]; id !== undefined; id = ids[next++]) await read(id);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Objects that nobody asks anything are put out of memory after ten seconds or so. */
async function untilEvicted(pid: number): Promise<void> {
  await sleep(EVICTED_AFTER_MS);
  for (let objects = Number.POSITIVE_INFINITY; ; await sleep(1000)) {
    const now = usage(pid).objects;
    if (now >= objects) return;
    objects = now;
  }
}

/** An object in memory has its database open. */
function usage(pid: number): { rss: number; objects: number } {
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
