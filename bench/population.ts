import { setTimeout as sleep } from "node:timers/promises";
import type { DeploymentView } from "../contract/deployment.ts";
import { atOnce } from "./at-once.ts";
import type { Setting } from "./figure.ts";
import { SimulatedAgent } from "./simulated-agent.ts";
import { Site } from "./site.ts";

const AT_ONCE = 16;
export const NAMESPACE = "bench";

/** A control plane with many deployments, made through its API, that run on a simulated agent. */
export type Population = { site: Site; agent: SimulatedAgent; ids: string[] };

/** @param wave marks those that are made, and counted, together */
export const simulatedManifest = (name: string, wave: string) => ({
  name,
  namespace: NAMESPACE,
  runtime: "process",
  command: ["sleep", "infinity"],
  environment: { MODE: "production" },
  labels: { app: "bench", wave },
});

export async function populate(size: number, say: Setting["say"], register: Setting["after"]): Promise<Population> {
  const site = await Site.start(register);
  const agent = await SimulatedAgent.start(site, register);
  const started = performance.now();
  const ids = await createMany(site, "d", size);
  const created = performance.now();
  await untilCounted(site, "d", "running", size);
  const seconds = (from: number, to: number) => `${((to - from) / 1000).toFixed(1)} s`;
  say(
    `made ${size} deployments in ${seconds(started, created)}, all listed as running after ${seconds(started, performance.now())}`,
  );
  return { site, agent, ids };
}

/** Creates deployments through the API, some at a time. */
export function createMany(site: Site, wave: string, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `${wave}-${i}`);
  return atOnce(AT_ONCE, names, async (name) => {
    const body = simulatedManifest(name, wave);
    return (await site.client.json<DeploymentView>("POST", "/deployments", { body })).id;
  });
}

/** Until the list has so many of a wave in this status. */
export async function untilCounted(
  site: Site,
  wave: string,
  status: string,
  count: number,
  pauseMs = 100,
): Promise<void> {
  while ((await countOf(site, wave, status)) < count) await sleep(pauseMs);
}

async function countOf(site: Site, wave: string, status: string): Promise<number> {
  let count = 0;
  let cursor = "";
  for (;;) {
    const answer = await site.client.send(
      "GET",
      `/deployments?status=${status}&label=wave=${wave}&limit=1000${cursor}`,
    );
    if (answer.status !== 200) throw new Error(`the list answered ${answer.status}: ${answer.text}`);
    count += (JSON.parse(answer.text) as unknown[]).length;
    const next = /[?&]cursor=([^&>]+)[^>]*>; rel="next"/.exec(String(answer.headers.link ?? ""))?.[1];
    if (next === undefined) return count;
    cursor = `&cursor=${next}`;
  }
}

let shared: Promise<Population> | null = null;

/** The ten thousand, made once for all figures that want them. */
export function tenThousand({ quick, say, atEnd }: Setting): Promise<Population> {
  shared ??= populate(quick ? 200 : 10_000, say, atEnd);
  return shared;
}
