import type { HostRuntime } from "../contract/host.ts";
import type { Observation, Runtime } from "../contract/workload.ts";
import type { Driver, Found } from "./driver.ts";

const LOOK_AGAIN_MS = 30_000;

export type RuntimesOptions = {
  drivers: readonly Driver[];
  observe: (observation: Observation) => void;
  /** A runtime that can be used from now on, with what was found of it. */
  cameUp: (runtime: Runtime, found: Found[]) => void;
  /** What can be used is not what it was. */
  changed: () => void;
  log: (line: string) => void;
};

type Held = { driver: Driver; version: string | null; started: boolean; fault: string };

/** The runtimes of this host that answer, now. Those that do not are asked again and again, and so are those that do. */
export class Runtimes {
  readonly #options: RuntimesOptions;
  readonly #held: Map<Runtime, Held>;
  #timer: NodeJS.Timeout | null = null;
  #scanning: Promise<void> | null = null;

  constructor(options: RuntimesOptions) {
    this.#options = options;
    this.#held = new Map(
      options.drivers.map((driver) => [driver.runtime, { driver, version: null, started: false, fault: "" }]),
    );
  }

  async start(): Promise<void> {
    await this.scan();
    this.#timer = setInterval(() => void this.scan(), LOOK_AGAIN_MS);
    this.#timer.unref();
  }

  get(runtime: Runtime): Driver | "waiting" | "disabled" {
    const held = this.#held.get(runtime);
    if (!held) return "disabled";
    return held.started && held.version !== null ? held.driver : "waiting";
  }

  list(): HostRuntime[] {
    return [...this.#held.values()].flatMap(({ driver, version }) =>
      version === null ? [] : [{ runtime: driver.runtime, version }],
    );
  }

  scan(): Promise<void> {
    this.#scanning ??= this.#scan().finally(() => {
      this.#scanning = null;
    });
    return this.#scanning;
  }

  async close(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    await this.#scanning;
    await Promise.all([...this.#held.values()].filter(({ started }) => started).map(({ driver }) => driver.close()));
  }

  async #scan(): Promise<void> {
    const before = JSON.stringify(this.list());
    await Promise.all([...this.#held.values()].map((held) => this.#look(held)));
    if (JSON.stringify(this.list()) !== before) this.#options.changed();
  }

  async #look(held: Held): Promise<void> {
    const { driver } = held;
    const { runtime } = driver;
    try {
      const version = await driver.detect();
      if (version === null) {
        if (held.version !== null) this.#options.log(`${runtime} does not answer any more`);
        else if (held.fault === "")
          this.#options.log(`${runtime} does not answer; it is looked for every ${LOOK_AGAIN_MS / 1000} s`);
        held.version = null;
        held.fault ||= "absent";
        return;
      }
      const isBack = held.version === null;
      if (!held.started) {
        const found = await driver.start(this.#options.observe);
        held.started = true;
        held.version = version;
        this.#options.log(`${runtime} ${version}, ${found.length} workloads found`);
        this.#options.cameUp(runtime, found);
        return;
      }
      held.version = version;
      if (isBack) this.#options.cameUp(runtime, []);
    } catch (error) {
      held.version = null;
      const { message } = error as Error;
      if (message !== held.fault) this.#options.log(`${runtime} cannot be used: ${message}`);
      held.fault = message;
    }
  }
}
