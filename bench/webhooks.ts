import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import type { DeploymentView } from "../contract/deployment.ts";
import { type Distribution, distribution } from "./distribution.ts";
import { atLeast, atMost, type Figure, type Line, type Setting } from "./figure.ts";
import { createMany, NAMESPACE, simulatedManifest, untilCounted } from "./population.ts";
import { SimulatedAgent } from "./simulated-agent.ts";
import { Site } from "./site.ts";
import type { Arrival } from "./webhook-sink.ts";

const MOST_MS = 30;
const LEAST_PER_SECOND = 500;
const ENDPOINTS = 100;
/** As many as an endpoint has on their way at once. */
const BARE_AT_ONCE = 5;
const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

export const webhooks: Figure = {
  name: "webhooks",
  about: "a status change is committed until its request comes in; deliveries a second to 100 endpoints",
  measure: async (setting) => {
    const { quick, after } = setting;
    const sink = await Sink.start(after);
    const site = await Site.start(after, { webhookTargets: "any" });
    await SimulatedAgent.start(site, after);
    const latency = await latencyLine(site, sink, quick ? 5 : 150);
    const rounds = [];
    for (let round = 0; round < (quick ? 1 : 3); round++)
      rounds.push({
        ours: await delivered(site, sink, round, quick ? 2 : 20),
        bare: await bareRate(sink, quick ? 500 : 4000),
      });
    const ours = rates(rounds.map((one) => one.ours));
    const bare = rates(rounds.map((one) => one.bare));
    const rate: Line = {
      what: `${ENDPOINTS} endpoints`,
      unit: "deliveries/s",
      ours,
      bare: { what: `signing and POSTing in a loop, ${ENDPOINTS * BARE_AT_ONCE} at once`, ...bare },
      ratio: ours.p50 / bare.p50,
      goal: atLeast(LEAST_PER_SECOND, "a second", ours.p50),
    };
    return [latency, rate];
  },
};

/** One endpoint, one change after the other. */
async function latencyLine(site: Site, sink: Sink, rounds: number): Promise<Line> {
  await subscribe(site, `${sink.url}/one`);
  const bare: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const body = simulatedManifest(`l-${round}`, "l");
    const { id } = await site.client.json<DeploymentView>("POST", "/deployments?wait=running&timeout=60s", { body });
    bare.push(await barePost(sink, `${id}:bare`));
  }
  const arrivals = await sink.until(rounds * 3, "each change, and as many bare ones");
  const ours = distribution(
    arrivals.filter(({ endpoint }) => endpoint === "/one").map(({ at, committed }) => Math.max(0, at - committed)),
  );
  const alone = { what: "signing and POSTing until it comes in", ...distribution(bare) };
  return {
    what: "committed → request comes in",
    unit: "ms",
    ours,
    bare: alone,
    ratio: ours.p50 / alone.p50,
    goal: atMost(MOST_MS, "ms p50", ours.p50),
  };
}

/** From the first commit to the last arrival, per second: what it takes to find and tell the endpoints is in it. */
async function delivered(site: Site, sink: Sink, round: number, deployments: number): Promise<number> {
  if (round === 0)
    for (let i = 0; i < ENDPOINTS; i += 10)
      await Promise.all(Array.from({ length: 10 }, (_, j) => subscribe(site, `${sink.url}/e-${i + j}`)));
  await sink.taken();
  const wave = `w-${round}`;
  await createMany(site, wave, deployments);
  await untilCounted(site, wave, "running", deployments);
  // Two changes each (creating, running), and the endpoint of the first figure is told of them as well.
  const arrivals = await sink.until(deployments * 2 * (ENDPOINTS + 1), "each change at each endpoint");
  const from = arrivals.reduce((least, { committed }) => Math.min(least, committed), Infinity);
  const to = arrivals.reduce((most, { at }) => Math.max(most, at), 0);
  return (arrivals.length / (to - from)) * 1000;
}

const subscribe = (site: Site, url: string): Promise<unknown> =>
  site.client.json("POST", "/webhooks", {
    body: { url, events: ["deployment.status_changed"], namespaces: [NAMESPACE] },
  });

/** The slow end of rates is the low one. */
function rates(values: readonly number[]): Distribution {
  const { n, p50, p99 } = distribution(values.map((value) => -value));
  return { n, p50: -p50, p99: -p99 };
}

const agent = new Agent({ keepAlive: true, maxSockets: ENDPOINTS * BARE_AT_ONCE });
const signer = new Webhook(SECRET);

function post(url: string, id: string): Promise<void> {
  const at = new Date();
  const body = JSON.stringify({ type: "deployment.status_changed", timestamp: at.toISOString(), data: { id } });
  return new Promise((done, fail) => {
    const headers = {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
      "webhook-signature": signer.sign(id, at, body),
    };
    const asked = request(url, { method: "POST", headers, agent }, (answer) => answer.resume().on("end", done));
    asked.on("error", fail);
    asked.end(body);
  });
}

async function barePost(sink: Sink, id: string): Promise<number> {
  const from = performance.timeOrigin + performance.now();
  await post(`${sink.url}/bare`, id);
  const arrival = await sink.find(id);
  return arrival.at - from;
}

async function bareRate(sink: Sink, count: number): Promise<number> {
  const from = performance.now();
  let next = 0;
  const loop = async () => {
    while (next < count) await post(`${sink.url}/bare`, `b:${next++}`);
  };
  await Promise.all(Array.from({ length: ENDPOINTS * BARE_AT_ONCE }, loop));
  const rate = (count / (performance.now() - from)) * 1000;
  await sink.taken();
  return rate;
}

/** The receiving process, and what it has said so far. */
class Sink {
  readonly url: string;
  readonly #child: ChildProcess;
  #arrivals: Arrival[] = [];

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(register: Setting["after"]): Promise<Sink> {
    const child = fork(join(import.meta.dirname, "webhook-sink.ts"));
    register(async () => {
      agent.destroy();
      child.disconnect();
      await once(child, "exit");
    });
    const [port] = (await once(child, "message")) as [number];
    return new Sink(child, port);
  }

  /** What came that nobody has taken yet. */
  async taken(): Promise<Arrival[]> {
    await this.#ask();
    return this.#arrivals.splice(0);
  }

  async until(count: number, what: string): Promise<Arrival[]> {
    for (const deadline = Date.now() + 60_000; ; await sleep(20)) {
      await this.#ask();
      if (this.#arrivals.length >= count) return this.#arrivals.splice(0);
      if (Date.now() > deadline) throw new Error(`${what}: ${this.#arrivals.length} of ${count} came`);
    }
  }

  async find(id: string): Promise<Arrival> {
    for (;;) {
      await this.#ask();
      const found = this.#arrivals.find((one) => one.id === id);
      if (found) return found;
    }
  }

  async #ask(): Promise<void> {
    this.#child.send("told");
    const [arrivals] = (await once(this.#child, "message")) as [Arrival[]];
    this.#arrivals.push(...arrivals);
  }
}
