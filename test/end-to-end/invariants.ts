// What must hold whenever the dust has settled: the API says what is so, and what is so is what was asked for.
import { DEPLOYMENT_NEXT, type DeploymentStatus, type DeploymentView, isPassing } from "../../contract/deployment.ts";
import type { JournalEvent } from "../../contract/event.ts";
import { until } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { doubled, type Live } from "./world.ts";

/** What a name must have come to. */
export type Expected = {
  name: string;
  id: string;
  status: DeploymentStatus;
  replicas: number;
  restarts: number;
};

/** Waits until everything is as it should be; then checks each journal. Answers what lives, by deployment. */
export async function settled(
  cluster: Cluster,
  expected: readonly Expected[],
  withinMs?: number,
): Promise<Map<string, Live[]>> {
  let wrong: string[] = [];
  let live: Live[] = [];
  await until(
    () =>
      `not settled:\n${wrong.map((one) => `- ${one}`).join("\n")}\n${cluster.names.map((name) => cluster.logTail(name)).join("\n")}`,
    async () => {
      ({ wrong, live } = await discrepancies(cluster, expected));
      return wrong.length === 0;
    },
    withinMs,
  );
  for (const { id } of expected) {
    const faults = await journalFaults(cluster, id);
    if (faults.length > 0) throw new Error(faults.join("\n"));
  }
  return Map.groupBy(live, ({ workload }) => workload.replace(/-\d+$/, ""));
}

async function discrepancies(
  cluster: Cluster,
  expected: readonly Expected[],
): Promise<{ wrong: string[]; live: Live[] }> {
  const { client } = cluster;
  const wrong: string[] = [];
  const [hosts, listed, real] = await Promise.all([client.hosts(), client.deployments(), cluster.world()]);
  const hostName = new Map(hosts.map((host) => [host.id, host.name]));
  for (const host of hosts)
    if (host.status !== "ready") wrong.push(`host ${host.name} is ${host.status}: ${host.message}`);

  const views: DeploymentView[] = [];
  for (const { name, id, status, replicas, restarts } of expected) {
    const { status: code, text } = await client.send("GET", `/deployments/${id}`);
    if (code !== 200) {
      wrong.push(`${name} (${id}) answers ${code}`);
      continue;
    }
    const view = JSON.parse(text) as DeploymentView;
    views.push(view);
    const running = view.instances.filter(({ phase }) => phase === "running").length;
    if (view.status !== status)
      wrong.push(`${name} (${id}) is ${view.status}, not ${status}: ${view.message}; ${instancesText(view)}`);
    if (status === "running" && running !== replicas)
      wrong.push(`${name} (${id}) has ${running} of ${replicas} running: ${instancesText(view)}`);
    if (view.restart_count !== restarts)
      wrong.push(`${name} (${id}) has restart_count ${view.restart_count}, not ${restarts}`);
    const row = listed.find((one) => one.id === id);
    if (row?.revision !== view.revision || row.status !== view.status)
      wrong.push(
        `the list says ${row?.status} r${row?.revision} of ${name}, which is ${view.status} r${view.revision}`,
      );
  }
  for (const { id, name, status, message } of listed) {
    if (expected.some((one) => one.id === id)) continue;
    const { status: code, text } = await client.send("GET", `/deployments/${id}/explain`);
    const why = code === 200 ? text : "its object does not know it any more";
    wrong.push(
      `${name} (${id}) should be gone, and is ${status}${isPassing(status) ? " (passing)" : ""}: ${message}; ${why}`,
    );
  }

  const told = views.flatMap(({ instances }) =>
    instances.map((one) => ({ ...one, host: hostName.get(one.host_id ?? "") ?? "nowhere" })),
  );
  const say = (one: { id?: string; instance?: string; host: string }) => `${one.id ?? one.instance} on ${one.host}`;
  const ran = new Set(told.filter(({ phase }) => phase === "running").map(say));
  const lives = new Set(real.live.map(say));
  for (const one of lives) if (!ran.has(one)) wrong.push(`${one} lives, and the API does not know it`);
  for (const one of ran) if (!lives.has(one)) wrong.push(`${one} runs according to the API, and does not live`);
  const present = new Set(told.map(say));
  for (const one of real.remains) if (!present.has(say(one))) wrong.push(`left over: ${one.what} of ${say(one)}`);
  for (const one of real.shims) if (!lives.has(say(one))) wrong.push(`left over: the shim of ${say(one)}`);
  if (real.spareShims > cluster.sites.length)
    wrong.push(`${real.spareShims} spare shims for ${cluster.sites.length} agents`);
  for (const host of hosts) {
    const there = told.filter((one) => one.host === host.name);
    if (host.workloads !== there.length)
      wrong.push(`host ${host.name} counts ${host.workloads} workloads, not ${there.length}`);
    const holds = there.some(({ phase }) => phase === "running");
    if (!holds && host.reserved.memory_bytes + host.reserved.cpu_millis > 0)
      wrong.push(`host ${host.name} reserves for nothing`);
  }
  return { wrong, live: real.live };
}

const instancesText = (view: DeploymentView): string =>
  view.instances.map(({ id, phase, message }) => `${id} ${phase}${message ? ` (${message})` : ""}`).join("; ");

/** Gap-free, in step with the cursor, and only along listed edges, each from where the one before led. */
export async function journalFaults(cluster: Cluster, id: string): Promise<string[]> {
  const [events, view] = [await cluster.client.events(`/deployments/${id}`), await cluster.client.deployment(id)];
  const faults: string[] = [];
  const first = events[0]?.seq ?? 1;
  if (events.length < 1000 && first !== 1) faults.push(`the journal of ${id} begins at ${first}`);
  for (const [i, { seq }] of events.entries())
    if (seq !== first + i) faults.push(`the journal of ${id} has ${seq} where ${first + i} was due`);
  if ((events.at(-1)?.seq ?? 0) < view.event_cursor)
    faults.push(`the journal of ${id} ends before its cursor ${view.event_cursor}`);
  faults.push(...edgeFaults(events));
  const last = events.findLast(({ new_status }) => new_status !== undefined)?.new_status;
  if (last !== undefined && last !== view.status)
    faults.push(`the journal of ${id} ends in ${last}, and it is ${view.status}`);
  return faults;
}

export function edgeFaults(events: readonly JournalEvent[]): string[] {
  let at: string | undefined;
  return events.flatMap(({ old_status, new_status, resource_id, seq }) => {
    if (old_status === undefined || new_status === undefined) return [];
    const known = (DEPLOYMENT_NEXT[old_status as DeploymentStatus] as readonly string[]).includes(new_status);
    const follows = at === undefined || at === old_status;
    at = new_status;
    return known && follows
      ? []
      : [
          `${resource_id}:${seq} goes from ${old_status} to ${new_status}${follows ? ", which is no edge" : ", and was not there"}`,
        ];
  });
}

/** Looks again and again, until stopped, whether anything lives twice. */
export function watchForDoubles(cluster: Cluster): { stop: () => Promise<string[]> } {
  const found = new Set<string>();
  let stopped = false;
  const watching = (async () => {
    while (!stopped) {
      for (const one of await doubled(cluster.sites, cluster.engine)) found.add(one);
      await new Promise((done) => setTimeout(done, 50));
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await watching;
      return [...found];
    },
  };
}

/** The keys of what lives of a deployment: two lists that are the same say that nothing was restarted. */
export const keysOf = (live: Live[] | undefined): string[] =>
  (live ?? []).map(({ instance, key }) => `${instance} ${key}`).sort();
