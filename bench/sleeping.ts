import { setTimeout as sleep } from "node:timers/promises";
import type { DatabaseView } from "../contract/database.ts";
import { atOnce } from "./at-once.ts";
import { distribution } from "./distribution.ts";
import type { Figure, Line } from "./figure.ts";
import { untilEvicted, usage } from "./resident.ts";
import { Site } from "./site.ts";
import { LOOK_EVERY_MS, Watch } from "./watch.ts";

export const sleeping: Figure = {
  name: "sleeping",
  about: "alarms, rows and memory of databases that are asleep",
  measure: async ({ quick, say, after }) => {
    const size = quick ? 50 : 1000;
    const site = await Site.start(after);
    const names = Array.from({ length: size }, (_, i) => `sleeping_${i}`);
    const ids = await atOnce(16, names, (name) => create(site, name));
    const watch = new Watch(site.stateDir, "DatabaseObject");
    await watch.untilRest(say);
    const states = await Promise.all(ids.slice(0, 20).map((id) => stateOf(site, id)));
    if (states.some((state) => state !== "stopped")) throw new Error(`they do not sleep: ${[...new Set(states)]}`);
    const windowMs = quick ? 5_000 : 120_000;
    say(`${size} databases are asleep; watching for ${windowMs / 1000} s`);
    watch.begin();
    for (const end = Date.now() + windowMs; Date.now() < end; await sleep(LOOK_EVERY_MS)) watch.look();
    const none = (what: string, unit: string, count: number): Line => ({
      ...{ what: `${size} sleeping databases: ${what}`, unit, ours: { n: size, p50: count, p99: count } },
      goal: { text: "0", met: count === 0 },
    });
    return [
      none(`alarms fired in ${windowMs / 1000} s`, "in all", watch.fired),
      none("alarms waiting", "in all", watch.waiting()),
      none(`rows written in ${windowMs / 1000} s`, "in all", watch.written()),
      ...(process.platform === "linux" ? await memory(site, ids) : []),
    ];
  },
};

/** Of workerd: before anything was read, with all of them in memory, and when they were put out of it again. */
async function memory(site: Site, ids: readonly string[]): Promise<Line[]> {
  // A control plane that has made nothing, so that what making leaves behind is not counted.
  await site.killControlPlane();
  await site.startControlPlane();
  await untilEvicted(site.workerdPid);
  const before = usage(site.workerdPid);
  await atOnce(32, ids, (id) => stateOf(site, id));
  const active = usage(site.workerdPid);
  await untilEvicted(site.workerdPid);
  const rest = usage(site.workerdPid);
  const read = active.objects - before.objects;
  const one = (what: string, unit: string, value: number): Line => ({
    ...{ what: `${ids.length} sleeping databases: ${what}`, unit, ours: distribution([value]) },
  });
  return [
    one("workerd, none of them in memory", "MB", before.rss / 1e6),
    one(`per database while ${read} are read`, "KB", (active.rss - before.rss) / read / 1e3),
    one("open again at rest", "objects", rest.objects - before.objects),
  ];
}

async function create(site: Site, name: string): Promise<string> {
  return (await site.client.json<DatabaseView>("POST", "/databases", { body: { name } })).id;
}

async function stateOf(site: Site, id: string): Promise<string> {
  return (await site.client.json<DatabaseView>("GET", `/databases/${id}`)).state;
}
