import { atOnce } from "./at-once.ts";
import { distribution } from "./distribution.ts";
import type { Figure, Line } from "./figure.ts";
import { populate } from "./population.ts";
import { untilEvicted, usage } from "./resident.ts";

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
      await atOnce(32, ids, (id) => site.client.json("GET", `/deployments/${id}`));
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
