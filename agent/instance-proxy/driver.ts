import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseWorkloadId } from "../../contract/id.ts";
import { REPORT_ENV } from "../../contract/instance-report.ts";
import type { ExecResult, InstanceStats, LogLine, Observation, Workload } from "../../contract/workload.ts";
import type { Driver, Found } from "../driver.ts";
import type { InstanceRoute } from "./message.ts";
import { instancePort } from "./port.ts";
import { ProxyProcess } from "./process.ts";

/** What an engine was asked before it is told to end is answered within this, ms. */
const DRAINED_WITHIN_MS = 10_000;

export type ProxyOptions = {
  dataDir: string;
  /** Where others reach this host. */
  advertiseAddress: string;
  /** Chosen once, and kept, when absent. */
  port?: number | undefined;
  /** The routes that were accepted before this agent was started. */
  kept: () => Workload[];
  /** What this route leads to was asked something; `waits`: it is waited for. */
  asked: (id: string, generation: number, waits: boolean) => void;
  log: (line: string) => void;
};

/** The runtime of routes: what is applied here is where the queries of an instance go. */
export class ProxyDriver implements Driver {
  readonly runtime = "proxy";
  readonly #options: ProxyOptions;
  readonly #routes = new Map<string, Workload>();
  #process: ProxyProcess | null = null;
  #port = 0;

  constructor(options: ProxyOptions) {
    this.#options = options;
  }

  async detect(): Promise<string | null> {
    return "1";
  }

  async start(): Promise<Found[]> {
    const { dataDir, port, kept, log } = this.#options;
    const folder = join(dataDir, "proxy");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#port = await instancePort(folder, port);
    this.#process = new ProxyProcess({ folder, port: this.#port, asked: (id, waits) => this.#asked(id, waits), log });
    for (const workload of kept()) this.#routes.set(workload.id, workload);
    // What runs is found at once; that the proxy must be started first keeps nobody from adopting the rest.
    void this.#push().catch((error: Error) => log(`proxy: ${error.message}`));
    return [...this.#routes.values()].map((workload) => {
      const { id, generation, owner } = workload;
      return { id, generation, owner, observation: this.#running(workload) };
    });
  }

  async apply(workload: Workload): Promise<Observation> {
    const { id, generation } = workload;
    if (routeOf(workload) === null) {
      const failure = { kind: "config_error", reason: "no_route", message: "It does not say where it leads." } as const;
      return { id, generation, at: Date.now(), phase: "failed", failure };
    }
    this.#routes.set(id, workload);
    await this.#push();
    return this.#running(workload);
  }

  async remove(id: string, generation: number): Promise<void> {
    if (this.#routes.get(id)?.generation !== generation) return;
    this.#routes.delete(id);
    await this.#push();
  }

  /** A program is about to be stopped: resolves when it has answered what it was asked through here. Never rejects. */
  async drain(workload_id: string, generation: number): Promise<void> {
    const owner = parseWorkloadId(workload_id)?.owner;
    if (![...this.#routes.values()].some((route) => route.owner === owner)) return;
    await this.#process?.drain({ workload_id, generation }, DRAINED_WITHIN_MS);
  }

  async *logs(): AsyncIterable<LogLine[]> {}

  async exec(id: string): Promise<ExecResult> {
    throw new Error(`${id} is a route: nothing can be run in it`);
  }

  async stats(): Promise<InstanceStats[]> {
    return [];
  }

  async close(): Promise<void> {
    this.#process?.close();
  }

  async #push(): Promise<void> {
    await this.#process?.set([...this.#routes.values()].map(routeOf).filter((route) => route !== null));
  }

  #running({ id, generation }: Workload): Observation {
    const address = `${this.#options.advertiseAddress}:${this.#port}`;
    const seen = { phase: "running", started_at: 0, address, image_digest: null, notes: [] } as const;
    return { id, generation, at: Date.now(), ...seen, notes: [] };
  }

  #asked(instanceId: string, waits: boolean): void {
    const workload = [...this.#routes.values()].find(({ owner }) => owner === instanceId);
    if (workload) this.#options.asked(workload.id, workload.generation, waits);
  }
}

function routeOf({ id, spec }: Workload): InstanceRoute | null {
  const owner = parseWorkloadId(id)?.owner;
  if (spec.route === undefined || owner === undefined) return null;
  return { ...spec.route, instance_id: owner, key_secret: spec.environment[REPORT_ENV.keySecret] ?? null };
}
