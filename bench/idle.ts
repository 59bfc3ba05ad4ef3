import { setTimeout as sleep } from "node:timers/promises";
import type { Figure, Line, Setting } from "./figure.ts";
import { ObjectFiles, rowsWritten } from "./object-files.ts";
import { populate } from "./population.ts";

const RESTS_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 250;

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

/** Sees what the objects of one class write and which of their alarms ring, by looking at their files. */
class Watch {
  readonly className: string;
  fired = 0;
  readonly #files: ObjectFiles;
  #alarms = new Map<string, number>();
  #known = new Map<string, { stamp: string; rows: Set<string> }>();
  #written = 0;

  constructor(stateDir: string, className: string) {
    this.className = className;
    this.#files = new ObjectFiles(stateDir, className);
  }

  /** Until the objects were put out of memory and no alarm of theirs is near. */
  async untilRest(say: Setting["say"]): Promise<void> {
    for (const end = Date.now() + RESTS_WITHIN_MS; ; await sleep(500)) {
      const open = this.#files.objects().filter((object) => !this.#files.isClosed(object)).length;
      const alarms = this.#files.alarms().size;
      if (open === 0 && alarms === 0) return;
      if (Date.now() > end) return say(`not at rest: ${open} objects in memory, ${alarms} alarms waiting`);
    }
  }

  begin(): void {
    this.#alarms = this.#files.alarms();
    for (const object of this.#files.objects()) {
      this.#known.set(object, { stamp: this.#files.stamp(object), rows: this.#files.rows(object) });
    }
  }

  look(): void {
    const alarms = this.#files.alarms();
    const now = Date.now();
    for (const [object, at] of this.#alarms) if (at <= now && alarms.get(object) !== at) this.fired++;
    this.#alarms = alarms;
    // The rows of a deployment are compared once, at the end: whatever changes them changes its file.
    if (this.className !== "DeploymentObject") this.#compare();
  }

  written(): number {
    this.#compare();
    return this.#written;
  }

  waiting(): number {
    return this.#alarms.size;
  }

  #compare(): void {
    for (const object of this.#files.objects()) {
      const known = this.#known.get(object) ?? { stamp: "", rows: new Set<string>() };
      const stamp = this.#files.stamp(object);
      if (stamp === known.stamp) continue;
      const rows = this.#files.rows(object);
      this.#written += rowsWritten(known.rows, rows);
      this.#known.set(object, { stamp, rows });
    }
  }
}
