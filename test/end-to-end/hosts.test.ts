import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, type TestContext, test } from "vitest";
import type { HostStatus } from "../../contract/host.ts";
import { until } from "./client.ts";
import { Cluster, docker, type HostSpec } from "./cluster.ts";
import { EventStream } from "./event-stream.ts";
import { type Expected, keysOf, settled, watchForDoubles } from "./invariants.ts";
import { job, type TestRuntime, worker } from "./manifests.ts";
import type { Live } from "./world.ts";

const LOST_AFTER_MS = 1500;
const TWO: HostSpec[] = [{ name: "one" }, { name: "two", transport: "call" }];

/** What a worker does that takes its time to stop: a host that is told ready too early is seen with it. */
const STUBBORN = { command: ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"], stop_timeout: "2s" };

async function start({ onTestFinished }: TestContext, hosts: HostSpec[] = TWO, withDocker = true): Promise<Cluster> {
  const cluster = await Cluster.start(hosts, { lostAfterMs: LOST_AFTER_MS, docker: withDocker ? docker : null });
  onTestFinished(() => cluster.close());
  return cluster;
}

/** Workers of every runtime, running; as many replicas each as there are hosts. */
async function spread(cluster: Cluster, more: Record<string, unknown> = {}): Promise<Expected[]> {
  const expected: Expected[] = [];
  for (const runtime of cluster.runtimes)
    expected.push(await make(cluster, runtime, `${runtime}-worker`, cluster.names.length, more));
  const live = [...(await settled(cluster, expected)).values()].flat();
  for (const host of cluster.names) expect(live.filter((one) => one.host === host)).toHaveLength(expected.length);
  return expected;
}

async function make(
  cluster: Cluster,
  runtime: TestRuntime,
  name: string,
  replicas: number,
  more: Record<string, unknown> = {},
): Promise<Expected> {
  const { id } = await cluster.client.apply(worker(cluster, runtime, name, { replicas, ...more }));
  return { name, id, status: "running", replicas, restarts: 0 };
}

async function reaches(cluster: Cluster, name: string, ...statuses: HostStatus[]): Promise<void> {
  let now = "";
  const look = async () => {
    const { status } = await cluster.client.host(name);
    now = status;
    return statuses.includes(status);
  };
  await until(() => `${name} is ${now}, not ${statuses.join(" or ")}\n${cluster.logTail(name)}`, look, 90_000);
}

/** Waits until every replica runs, and all of them on this host. */
async function allOn(cluster: Cluster, host: string, expected: readonly Expected[]): Promise<void> {
  const { id: hostId } = await cluster.client.host(host);
  for (const { id, name, replicas } of expected) {
    let seen = "";
    await until(
      () => `${name} is not whole on ${host}: ${seen}`,
      async () => {
        const view = await cluster.client.deployment(id);
        seen = JSON.stringify(view.instances);
        return view.instances.filter((one) => one.phase === "running" && one.host_id === hostId).length === replicas;
      },
    );
  }
}

const isAlive = (pid: number): boolean =>
  existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
const on = (host: string, live: readonly Live[]): Live[] => live.filter((one) => one.host === host);

/** Follows a host's events; notes which of some processes still lived at the moment when it was told to be ready. */
function watchReturn(
  cluster: Cluster,
  hostId: string,
  stale: readonly Live[],
): { stream: EventStream; atReady: () => number[] | null } {
  let atReady: number[] | null = null;
  const pids = stale.flatMap((one) => one.pids);
  let wasLost = false;
  const stream = new EventStream(cluster, `/hosts/${hostId}/events`, ({ new_status }) => {
    if (new_status === "lost") wasLost = true;
    if (new_status === "ready" && wasLost) atReady ??= pids.filter(isAlive);
  });
  return { stream, atReady: () => atReady };
}

describe.concurrent("hosts", () => {
  test("a machine dies: its replicas run elsewhere, its job has failed, and it comes back empty", async (context) => {
    const cluster = await start(context);
    const expected = await spread(cluster);
    await cluster.client.act((await cluster.client.host("two")).id, "cordon");
    const lasting = await cluster.client.apply(job(cluster, "process", "lasting", 0, 1000));
    await until(
      () => "the job does not run",
      async () => (await cluster.client.deployment(lasting.id)).status === "running",
    );
    await cluster.client.act((await cluster.client.host("two")).id, "uncordon");
    const kept = on("two", (await cluster.world()).live);

    const { id } = await cluster.client.host("one");
    await cluster.noteBoots();
    await cluster.killMachine("one");
    await reaches(cluster, "one", "lost");
    await allOn(cluster, "two", expected);
    const failed = await cluster.client.deployment(lasting.id);
    expect(failed).toMatchObject({ status: "failed", reason: "host_lost" });

    cluster.startAgent("one");
    await cluster.ready("one");
    expected.push({ name: "lasting", id: lasting.id, status: "failed", replicas: 0, restarts: 0 });
    const live = [...(await settled(cluster, expected)).values()].flat();
    // What a lost host ran has moved, which is no death of it; what ran elsewhere has not noticed.
    expect(on("one", live)).toEqual([]);
    expect(keysOf(live)).toEqual(expect.arrayContaining(keysOf(kept)));
    const statuses = (await cluster.client.events(`/hosts/${id}`)).flatMap(({ new_status }) => new_status ?? []);
    expect(statuses).toEqual(["syncing", "ready", "unreachable", "lost", "syncing", "ready"]);
  });

  test("an agent dies and its workloads live on: they are gone before the host is ready again", async (context) => {
    const cluster = await start(context, [{ name: "one" }, { name: "two" }]);
    const expected = await spread(cluster, STUBBORN);
    const before = (await cluster.world()).live;
    const { id } = await cluster.client.host("one");
    const { stream, atReady } = watchReturn(cluster, id, on("one", before));
    await cluster.noteBoots();
    await cluster.killAgent("one");
    await reaches(cluster, "one", "lost");
    await allOn(cluster, "two", expected);
    for (const { pids } of on("one", before)) for (const pid of pids.slice(0, 1)) expect(isAlive(pid)).toBe(true);

    cluster.startAgent("one");
    await cluster.ready("one");
    await until(
      () => "the stream does not tell of it",
      () => atReady() !== null,
    );
    expect(atReady(), "processes that lived when the host was told to be ready").toEqual([]);
    await stream.close();
    const live = [...(await settled(cluster, expected)).values()].flat();
    expect(keysOf(live)).toEqual(expect.arrayContaining(keysOf(on("two", before))));
  });

  test.for(["tunnel", "call"] as const)(
    "an agent that is stopped (SIGSTOP, over %s) is lost, and returns when it goes on",
    { timeout: 240_000 },
    async (transport, context) => {
      const cluster = await start(context, [{ name: "one", transport }, { name: "two" }], transport === "tunnel");
      const expected = await spread(cluster, STUBBORN);
      const before = (await cluster.world()).live;
      const { id } = await cluster.client.host("one");
      const { stream, atReady } = watchReturn(cluster, id, on("one", before));
      cluster.agent("one").kill("SIGSTOP");
      await reaches(cluster, "one", "lost");
      await allOn(cluster, "two", expected);
      for (const { pids } of on("one", before)) expect(isAlive(pids[0] as number)).toBe(true);
      cluster.agent("one").kill("SIGCONT");
      await until(
        () => `the host does not come back\n${cluster.logTail("one")}`,
        () => atReady() !== null,
      );
      expect(atReady(), "processes that lived when the host was told to be ready").toEqual([]);
      await stream.close();
      await settled(cluster, expected);
    },
  );

  test("nothing is restarted, and nobody is lost, when only the control plane is away for long", async (context) => {
    const cluster = await start(context);
    const expected = await spread(cluster);
    const before = (await cluster.world()).live;
    const doubles = watchForDoubles(cluster);
    await cluster.killPlane();
    await sleep(3 * LOST_AFTER_MS);
    await cluster.startPlane();
    // A host that is not heard again in time would be lost now.
    await sleep(2 * LOST_AFTER_MS);
    const live = [...(await settled(cluster, expected)).values()].flat();
    expect(keysOf(live)).toEqual(keysOf(before));
    expect(await doubles.stop()).toEqual([]);
    for (const host of await cluster.client.hosts()) {
      const statuses = (await cluster.client.events(`/hosts/${host.id}`)).flatMap(({ new_status }) => new_status ?? []);
      expect(statuses).not.toContain("lost");
    }
  });

  test("cordon keeps new workloads away, drain moves replicas and waits for jobs, and an emptied host can be removed", async (context) => {
    const cluster = await start(context);
    const { client } = cluster;
    const expected = await spread(cluster);
    const [one, two] = [await client.host("one"), await client.host("two")];

    await client.act(one.id, "cordon");
    expected.push(await make(cluster, "process", "after-cordon", 2));
    await allOn(cluster, "two", expected.slice(-1));
    await settled(cluster, expected);
    await client.act(one.id, "uncordon");

    await client.act(two.id, "cordon");
    const release = join(cluster.marks, "release");
    const manifest = {
      ...job(cluster, "process", "patient", 0),
      command: ["/bin/sh", "-c", `until [ -e ${release} ]; do sleep 0.05; done`],
    };
    const patient = await client.apply(manifest);
    await until(
      () => "the job does not run",
      async () => (await client.deployment(patient.id)).status === "running",
    );
    await client.act(two.id, "uncordon");

    const refused = await client.send("DELETE", `/hosts/${one.id}`);
    expect([refused.status, JSON.parse(refused.text).code]).toEqual([409, "host_not_empty"]);
    const others = on("two", (await cluster.world()).live);
    await client.act(one.id, "drain");
    await allOn(cluster, "two", expected);
    expect(await client.deployment(patient.id)).toMatchObject({ status: "running" });
    await until(
      () => "the host is not drained",
      async () => (await client.host("one")).workloads === 1,
    );
    writeFileSync(release, "");
    await until(
      () => "the job does not complete",
      async () => (await client.deployment(patient.id)).status === "completed",
    );
    const stillThere = on("two", (await cluster.world()).live);
    expect(keysOf(stillThere)).toEqual(expect.arrayContaining(keysOf(others)));
    await client.delete(patient.id);
    await settled(cluster, expected);

    const agent = cluster.agent("one");
    expect((await client.send("DELETE", `/hosts/${one.id}`)).status).toBe(204);
    await agent.exited;
    expect(agent.logTail(3)).toContain("removed");
    expect((await client.send("GET", `/hosts/${one.id}`)).status).toBe(404);
    expect((await client.hosts()).map(({ name }) => name)).toEqual(["two"]);
    await settled(cluster, expected);
  });

  test.for(["tunnel", "call"] as const)(
    "forced removal ends the agent and its workloads, also one that was away (%s)",
    async (transport, context) => {
      const cluster = await start(
        context,
        [{ name: "here", transport }, { name: "away", transport }, { name: "rest" }],
        transport === "tunnel",
      );
      const { client } = cluster;
      const expected = await spread(cluster);
      const [here, away] = [await client.host("here"), await client.host("away")];
      const agent = cluster.agent("here");
      expect((await client.send("DELETE", `/hosts/${here.id}?force=true`)).status).toBe(204);
      await agent.exited;
      expect(on("here", (await cluster.world()).live)).toEqual([]);

      await cluster.killAgent("away");
      expect((await client.send("DELETE", `/hosts/${away.id}?force=true`)).status).toBe(204);
      await allOn(cluster, "rest", expected);
      expect(on("away", (await cluster.world()).live).length).toBeGreaterThan(0);
      const answer = await client.send("POST", `/hosts/${away.id}/frames`, { body: {} });
      expect([answer.status, JSON.parse(answer.text).code]).toEqual([410, "host_removed"]);
      cluster.startAgent("away");
      await cluster.agent("away").exited;
      expect(on("away", (await cluster.world()).live)).toEqual([]);
      // Its enrolment is forgotten: without a new join token it stays out.
      cluster.startAgent("away");
      await cluster.agent("away").exited;
      expect(cluster.agent("away").logTail(3)).toContain("has not joined");
      expect((await client.hosts()).map(({ name }) => name)).toEqual(["rest"]);
      await settled(cluster, expected);
    },
  );
});
