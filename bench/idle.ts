import { setTimeout as sleep } from "node:timers/promises";
import type { Figure, Line } from "./figure.ts";
import { populate } from "./population.ts";
import { LOOK_EVERY_MS, Watch } from "./watch.ts";

/** The classes beside the deployments themselves; what they do is shared by all. */
const OTHERS = ["HostObject", "IndexObject", "NamespaceObject"] as const;

export const idle: Figure = {
  name: "idle",
  about: "alarms fired and rows written while deployments run and nothing happens; their host is connected",
  measure: async ({ quick, say, after }) => {
    const { site, ids } = await populate(quick ? 50 : 1000, say, after);
    const deployments = new Watch(site.stateDir, "DeploymentObject");
    const others = OTHERS.map((name) => new Watch(site.stateDir, name));
    await deployments.untilRest(say);
    const windowMs = quick ? 5_000 : 180_000;
    say(`watching for ${windowMs / 1000} s`);
    const watches = [deployments, ...others];
    for (const watch of watches) watch.begin();
    for (const end = Date.now() + windowMs; Date.now() < end; await sleep(LOOK_EVERY_MS)) {
      for (const watch of watches) watch.look();
    }
    const hours = windowMs / 3_600_000;
    const perDeployment = (what: string, count: number): Line => {
      const value = count / ids.length / hours;
      return {
        what,
        unit: "per hour",
        ours: { n: ids.length, p50: value, p99: value },
        goal: { text: "0", met: count === 0 },
      };
    };
    const shared = (what: string, count: number): Line => ({
      what,
      unit: "per hour",
      ours: { n: 1, p50: count / hours, p99: count / hours },
    });
    return [
      perDeployment("alarms fired, of each deployment", deployments.fired),
      perDeployment("rows written, of each deployment", deployments.written()),
      perDeployment("alarms waiting, of each deployment", deployments.waiting()),
      ...others.flatMap((watch) => [
        shared(`alarms fired, of all ${watch.className}s`, watch.fired),
        shared(`rows written at least, of all ${watch.className}s`, watch.written()),
      ]),
    ];
  },
};
