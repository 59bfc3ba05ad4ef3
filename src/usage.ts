import type { HostView } from "../contract/host.ts";
import type { Reply } from "../contract/problem.ts";
import type { InstanceStats } from "../contract/workload.ts";
import { remote } from "../objects/remote.ts";
import { within } from "./within.ts";

/**
 * What runs on the hosts uses, as scrapers ask for it: again and again, and without time to wait. So each host's answer is believed for a
 * while, and a scrape waits no longer than it can; a host that answers later is in the next one.
 */
const BELIEVED_MS = 15_000;
const SCRAPE_WAITS_MS = 1_500;
const HOST_ANSWERS_IN_MS = 10_000;
/** An answer older than this says nothing about now any more. */
const FORGOTTEN_MS = 60_000;

type Answered = { at: number; stats: InstanceStats[] };

/** Per isolate. Answers are plain values; a promise would belong to the request that made it. */
const answered = new Map<string, Answered>();
const asked = new Map<string, number>();

export type Usage = {
  instances: number;
  cpu_usage_percent: number;
  memory_usage_bytes: number;
  memory_limit_bytes: number;
  pids: number;
  network_rx_bytes: number;
  network_tx_bytes: number;
  disk_read_bytes: number;
  disk_write_bytes: number;
};

export const NO_USAGE: Usage = {
  instances: 0,
  cpu_usage_percent: 0,
  memory_usage_bytes: 0,
  memory_limit_bytes: 0,
  pids: 0,
  network_rx_bytes: 0,
  network_tx_bytes: 0,
  disk_read_bytes: 0,
  disk_write_bytes: 0,
};

/** By deployment id; `at` is when the oldest of the answers came, null without one; `silent` hosts have no answer that counts. */
export type UsageNow = { byDeployment: Map<string, Usage>; at: number | null; silent: number };

export async function usageOf(env: Env, ctx: ExecutionContext, hosts: readonly HostView[]): Promise<UsageNow> {
  const busy = hosts.filter(({ status, workloads }) => status === "ready" && workloads > 0);
  const now = Date.now();
  const questions = busy.filter(({ id }) => isDue(id, now)).map(({ id }) => ask(env, id, now));
  if (questions.length > 0) {
    const all = Promise.all(questions);
    ctx.waitUntil(all);
    await within(SCRAPE_WAITS_MS, all).catch(() => undefined);
  }
  for (const [id, { at }] of answered) if (Date.now() - at > FORGOTTEN_MS) answered.delete(id);
  const known = busy.flatMap(({ id }) => answered.get(id) ?? []);
  return {
    byDeployment: sum(known.flatMap(({ stats }) => stats)),
    at: known.length === 0 ? null : Math.min(...known.map(({ at }) => at)),
    silent: busy.length - known.length,
  };
}

/** Asked once at a time, and not again while its answer is fresh. */
function isDue(id: string, now: number): boolean {
  const { at = 0 } = answered.get(id) ?? {};
  return Math.abs(now - at) >= BELIEVED_MS && Math.abs(now - (asked.get(id) ?? 0)) >= HOST_ANSWERS_IN_MS;
}

async function ask(env: Env, id: string, now: number): Promise<void> {
  asked.set(id, now);
  try {
    const reply: Reply<string> = await within(HOST_ANSWERS_IN_MS, remote(env.HOST, id).measure());
    if (reply.ok) answered.set(id, { at: Date.now(), stats: JSON.parse(reply.value) as InstanceStats[] });
  } catch {
    // It is counted as silent.
  } finally {
    asked.delete(id);
  }
}

function sum(stats: readonly InstanceStats[]): Map<string, Usage> {
  const byDeployment = new Map<string, Usage>();
  for (const one of stats) {
    const id = /^dep_[0-9a-z]{26}(?=-)/.exec(one.instance_id)?.[0];
    if (id === undefined) continue;
    byDeployment.set(id, plus(byDeployment.get(id) ?? NO_USAGE, usageOfInstance(one)));
  }
  return byDeployment;
}

const usageOfInstance = (one: InstanceStats): Usage => ({
  instances: 1,
  cpu_usage_percent: one.cpu_usage_percent,
  memory_usage_bytes: one.memory.usage_bytes,
  memory_limit_bytes: one.memory.limit_bytes,
  pids: one.pids.current,
  network_rx_bytes: one.network.rx_bytes,
  network_tx_bytes: one.network.tx_bytes,
  disk_read_bytes: one.disk_io.read_bytes,
  disk_write_bytes: one.disk_io.write_bytes,
});

export function plus(a: Usage, b: Usage): Usage {
  const sums = Object.keys(NO_USAGE).map((key) => [key, a[key as keyof Usage] + b[key as keyof Usage]]);
  return Object.fromEntries(sums) as Usage;
}
