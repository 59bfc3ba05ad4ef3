import { DEPLOYMENT_STATUSES, type DeploymentStatus } from "../contract/deployment.ts";
import type { HostView } from "../contract/host.ts";
import { RUNTIMES } from "../contract/workload.ts";
import type { Census, Count, Measured } from "../objects/index/census.ts";
import { ALL_NAMESPACE_SHARDS, CLUSTER_SHARD } from "../objects/projection.ts";
import { remote } from "../objects/remote.ts";
import { call } from "./stub.ts";
import { NO_USAGE, plus, type Usage, usageOf } from "./usage.ts";

/** Everything that `GET /metrics` tells, in either form. */
export type Figures = {
  deployments: number;
  byStatus: [status: string, count: number][];
  byRuntime: [runtime: string, count: number][];
  unhealthy: { namespace: string; status: string; count: number }[];
  /** Resources by noun, and tokens and hosts by status. */
  of: (kind: string, status?: string) => number;
  /** What objects count of what they hold, by word, zero-filled. */
  tally: (kind: string, words: readonly string[]) => [word: string, count: number][];
  /** All that objects of a kind count, by word. */
  words: (kind: string) => Map<string, number>;
  hosts: HostView[];
  silentHosts: number;
  refreshedAt: number | null;
  running: (Usage & { name: string; namespace: string; runtime: string; restarts: number })[];
};

const UNHEALTHY: ReadonlySet<string> = new Set<DeploymentStatus>(
  DEPLOYMENT_STATUSES.filter(
    (status) =>
      /_back_off$|_error$/.test(status) || ["pending", "failed", "insufficient_resources", "error"].includes(status),
  ),
);

/** One question to each IndexObject, and at most one to each host. */
export async function gatherFigures(env: Env, ctx: ExecutionContext): Promise<Figures> {
  const shards = [...ALL_NAMESPACE_SHARDS, CLUSTER_SHARD];
  const [parts, hosts] = await Promise.all([
    Promise.all(
      shards.map((shard) =>
        call(
          () => remote(env.INDEX, shard),
          (index): Promise<Census> => index.census(),
        ),
      ),
    ),
    call(
      () => remote(env.INDEX, CLUSTER_SHARD),
      (index) => index.hosts(),
    ).then((bodies) => bodies.map((body) => JSON.parse(body) as HostView)),
  ]);
  const counts = parts.flatMap((part) => part.counts);
  const deployments = counts.filter(({ kind, status }) => kind === "deployment" && status !== "deleted");
  const usage = await usageOf(env, ctx, hosts);
  return {
    deployments: total(deployments),
    byStatus: filled(
      DEPLOYMENT_STATUSES,
      counts.filter(({ kind }) => kind === "deployment"),
      (one) => one.status,
    ),
    byRuntime: filled(RUNTIMES, deployments, (one) => one.runtime),
    unhealthy: unhealthyOf(deployments),
    of: (kind, status) =>
      total(counts.filter((one) => one.kind === kind && (status === undefined || one.status === status))),
    tally: (kind, words) =>
      words.map((word) => [
        word,
        parts
          .flatMap(({ tallies }) => tallies)
          .reduce((sum, one) => sum + (one.kind === kind && one.word === word ? one.count : 0), 0),
      ]),
    words: (kind) => {
      const sums = new Map<string, number>();
      for (const one of parts.flatMap(({ tallies }) => tallies))
        if (one.kind === kind) sums.set(one.word, (sums.get(one.word) ?? 0) + one.count);
      return sums;
    },
    hosts,
    silentHosts: usage.silent,
    refreshedAt: usage.at,
    running: runningOf(
      parts.flatMap((part) => part.deployments),
      usage.byDeployment,
    ),
  };
}

const total = (counts: readonly Count[]): number => counts.reduce((sum, { count }) => sum + count, 0);

/** A count for each word, also for those that nothing has. */
function filled(
  words: readonly string[],
  counts: readonly Count[],
  wordOf: (count: Count) => string,
): [string, number][] {
  const sums = new Map(words.map((word) => [word, 0]));
  for (const one of counts) sums.set(wordOf(one), (sums.get(wordOf(one)) ?? 0) + one.count);
  return [...sums];
}

function unhealthyOf(deployments: readonly Count[]): Figures["unhealthy"] {
  const sums = new Map<string, { namespace: string; status: string; count: number }>();
  for (const { namespace, status, count } of deployments) {
    if (!UNHEALTHY.has(status)) continue;
    const key = `${namespace} ${status}`;
    sums.set(key, { namespace: namespace ?? "", status, count: (sums.get(key)?.count ?? 0) + count });
  }
  return [...sums.values()];
}

/** By what figures are named: a version and the one that takes over from it are one deployment to who looks at them. */
function runningOf(deployments: readonly Measured[], byDeployment: ReadonlyMap<string, Usage>): Figures["running"] {
  const all = new Map<string, Figures["running"][number]>();
  for (const { id, name, namespace, runtime, restarts } of deployments) {
    const key = `${namespace} ${name} ${runtime}`;
    const so = all.get(key) ?? { ...NO_USAGE, name, namespace, runtime, restarts: 0 };
    all.set(key, { ...so, ...plus(so, byDeployment.get(id) ?? NO_USAGE), restarts: so.restarts + restarts });
  }
  return [...all.values()];
}
