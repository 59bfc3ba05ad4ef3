import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ExecResult, LogLine } from "../../contract/workload.ts";
import { type ManifestBody, until } from "./client.ts";
import { Cluster, docker } from "./cluster.ts";
import { EventStream } from "./event-stream.ts";
import { type Expected, edgeFaults, keysOf, settled } from "./invariants.ts";
import { job, type TestRuntime, worker } from "./manifests.ts";

const RUNTIMES: TestRuntime[] = docker.available ? ["process", "docker"] : ["process"];

/** One after another: the control plane and the agents are killed and started again in them. */
describe("over restarts", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start([{ name: "one" }, { name: "two", transport: "call" }], { docker });
  });
  afterAll(() => cluster?.close());

  const running = async (manifest: ManifestBody, replicas = 1): Promise<Expected> => {
    const { id, name } = await cluster.client.apply(manifest);
    const expected: Expected = { name, id, status: "running", replicas, restarts: 0 };
    await settled(cluster, [expected]);
    return expected;
  };
  const remove = async (id: string) => {
    await cluster.client.delete(id);
    await settled(cluster, []);
  };
  const restart = async (agents: readonly string[] = []) => {
    await cluster.noteBoots();
    await Promise.all([cluster.killPlane(), ...agents.map((name) => cluster.killAgent(name))]);
    await cluster.startPlane();
    for (const name of agents) cluster.startAgent(name);
    for (const name of cluster.names) {
      if (!agents.includes(name)) cluster.forgetBoot(name);
      await cluster.ready(name);
    }
  };

  test.each(RUNTIMES)(
    "the life of a worker on %s, told as it happens, with no event missed or doubled",
    async (runtime) => {
      const manifest = worker(cluster, runtime, "life", { replicas: 2 });
      const { id, status } = await cluster.client.apply(manifest);
      expect(status).toBe("pending");
      const stream = new EventStream(cluster, `/deployments/${id}/events`);
      const expected: Expected = { name: "life", id, status: "running", replicas: 2, restarts: 0 };
      const before = (await settled(cluster, [expected])).get(id) ?? [];
      expect((await cluster.client.events(`/deployments/${id}`)).flatMap(({ new_status }) => new_status ?? [])).toEqual(
        ["creating", "running"],
      );

      const victim = before[0];
      if (victim === undefined) throw new Error("nothing runs");
      await cluster.killPlane();
      // It dies while nobody is there to be told.
      await cluster.killInstance(victim);
      await cluster.startPlane();
      for (const name of cluster.names) await cluster.ready(name);
      const after = await settled(cluster, [{ ...expected, restarts: 1 }]);
      expect(keysOf(after.get(id))).toEqual(expect.arrayContaining(keysOf(before.slice(1))));

      const journal = await cluster.client.events(`/deployments/${id}`);
      expect(journal.map(({ reason }) => reason)).toEqual(
        expect.arrayContaining(["deployment_created", "instance_running", "instance_died"]),
      );
      await until(
        () => "the stream is behind",
        () => stream.events.length >= journal.length,
      );
      expect(stream.events).toEqual(journal);
      expect(stream.connections).toBeGreaterThan(1);
      expect(edgeFaults(stream.events)).toEqual([]);

      expect((await cluster.client.apply(manifest)).id).toBe(id);
      await settled(cluster, [expected]);
      const changed = await cluster.client.apply({ ...manifest, environment: { CHANGED: "yes" } });
      expect(changed.replaces).toBe(id);
      await settled(cluster, [{ ...expected, id: changed.id }]);
      await stream.close();
      await remove(changed.id);
    },
  );

  test.each(RUNTIMES.flatMap((runtime) => [[runtime, 0, "completed"] as const, [runtime, 7, "failed"] as const]))(
    "the life of a job on %s that exits with %i: %s, though everything was down when it ended",
    async (runtime, code, status) => {
      const { id } = await cluster.client.apply(job(cluster, runtime, `job-${runtime}-${code}`, code, 1));
      const stream = new EventStream(cluster, `/deployments/${id}/events`);
      await until(
        () => "it does not run",
        async () => (await cluster.client.deployment(id)).status === "running",
      );
      await cluster.noteBoots();
      await Promise.all([cluster.killPlane(), ...cluster.names.map((name) => cluster.killAgent(name))]);
      await until(
        () => "it does not end",
        async () => (await cluster.world()).live.length === 0,
      );
      await cluster.startPlane();
      for (const name of cluster.names) cluster.startAgent(name);
      for (const name of cluster.names) await cluster.ready(name);
      await settled(cluster, [{ name: "job", id, status, replicas: 0, restarts: 0 }]);
      await until(
        () => `the stream says ${stream.statuses}`,
        () => stream.statuses.includes(status),
      );
      expect(stream.statuses).toEqual(["creating", "running", status]);
      const { instances } = await cluster.client.deployment(id);
      expect(instances[0]?.exit).toMatchObject({ code, signal: null });
      await stream.close();
      await remove(id);
    },
  );

  test.each(RUNTIMES)(
    "restart_count on %s outlives restarts of both sides, and counts deaths that nobody saw",
    async (runtime) => {
      const expected = await running(worker(cluster, runtime, "counted"));
      const { id } = expected;
      const killOne = async () => {
        const [victim] = await cluster.liveOf(id);
        if (victim === undefined) throw new Error("nothing runs");
        await cluster.killInstance(victim);
      };
      await killOne();
      await settled(cluster, [{ ...expected, restarts: 1 }]);
      await restart(cluster.names);
      const before = await settled(cluster, [{ ...expected, restarts: 1 }]);

      await cluster.noteBoots();
      await Promise.all([cluster.killPlane(), ...cluster.names.map((name) => cluster.killAgent(name))]);
      await killOne();
      await cluster.startPlane();
      for (const name of cluster.names) cluster.startAgent(name);
      for (const name of cluster.names) await cluster.ready(name);
      const after = await settled(cluster, [{ ...expected, restarts: 2 }]);
      expect(keysOf(after.get(id))).not.toEqual(keysOf(before.get(id)));
      await restart(cluster.names);
      await settled(cluster, [{ ...expected, restarts: 2 }]);
      await remove(id);
    },
  );

  test("a creation that is repeated with its Idempotency-Key after a restart gets its first answer", async () => {
    const manifest = worker(cluster, "process", "once");
    const key = randomUUID();
    const send = (body: ManifestBody) => cluster.client.send("POST", "/deployments", { body, key });
    const first = await send(manifest);
    expect(first.status).toBe(201);
    await restart();
    const again = await send(manifest);
    expect([again.status, JSON.parse(again.text)]).toEqual([201, JSON.parse(first.text)]);
    const other = await send({ ...manifest, replicas: 2 });
    expect([other.status, JSON.parse(other.text).code]).toEqual([422, "idempotency_key_reused"]);
    const { id } = JSON.parse(first.text) as { id: string };
    await settled(cluster, [{ name: "once", id, status: "running", replicas: 1, restarts: 0 }]);
    await remove(id);
  });

  test("a deletion waits for a host that is away, says so, and ends when it is back", async () => {
    const { id } = await running(worker(cluster, "process", "leaving", { replicas: 2 }), 2);
    await cluster.noteBoots();
    await cluster.killAgent("one");
    await until(
      () => "its silence is not noticed",
      async () => (await cluster.client.host("one")).status === "unreachable",
    );
    await cluster.client.delete(id);
    await until(
      () => "the other host's instance stays",
      async () => (await cluster.liveOf(id)).every(({ host }) => host === "one"),
    );
    expect(await cluster.client.deployment(id)).toMatchObject({ status: "deleted" });
    expect((await cluster.client.deployments()).map((one) => one.id)).toContain(id);
    // The process is gone before its host has said so.
    const waits = await until(
      () => "the other host's instance is still waited for",
      async () => {
        const explained = await cluster.client.json<{ waiting_for: { for: string }[] }>(`/deployments/${id}/explain`);
        return explained.waiting_for.length === 1 && explained.waiting_for;
      },
    );
    const { id: hostId } = await cluster.client.host("one");
    expect(JSON.stringify(waits)).toContain(hostId);
    expect(await cluster.liveOf(id)).toHaveLength(1);
    cluster.startAgent("one");
    await cluster.ready("one");
    await settled(cluster, []);
  });

  test("a registry password is in no answer and in no file", {
    skip: !docker.available,
  }, async () => {
    const canary = `canary-${randomUUID()}`;
    const seeing = await Cluster.start([{ name: "seen" }], { docker, keepAnswers: true });
    try {
      const { client } = seeing;
      const config = { image_pull_policy: "Always", server: "127.0.0.1:1", username: "someone", password: canary };
      const manifest = worker(seeing, "docker", "secret", { image: `127.0.0.1:1/secret:${canary.slice(-6)}`, config });
      const { id } = await client.apply(manifest, { key: "secret-key" });
      await until(
        () => "it is not tried",
        async () => (await client.deployment(id)).restart_count > 0,
      );
      await client.apply(manifest, { key: "secret-key" });
      await client.send("POST", "/deployments?dry_run=true", { body: manifest });
      await client.send("POST", "/deployments", { body: { ...manifest, replicas: "many" } });
      for (const path of ["", "/events", "/explain", "/logs", "/metrics"])
        await client.send("GET", `/deployments/${id}${path}`);
      for (const path of ["/deployments", "/hosts", "/audit"]) await client.send("GET", path);
      await seeing.noteBoots();
      await Promise.all([seeing.killPlane(), seeing.killAgent("seen")]);
      await seeing.startPlane();
      seeing.startAgent("seen");
      await seeing.ready("seen");
      await client.send("GET", `/deployments/${id}`);
      expect(client.answers?.length).toBeGreaterThan(10);
      expect(client.answers?.filter((text) => text.includes(canary))).toEqual([]);
      expect(seeing.filesWith(canary)).toEqual([]);
      expect(seeing.filesWith("secret").length).toBeGreaterThan(0);
    } finally {
      await seeing.close();
    }
  });

  test("a deployment that no host was there for starts when one joins: it is told, and does not poll", async () => {
    const empty = await Cluster.start([], { docker: null });
    try {
      const { id } = await empty.client.apply(worker(empty, "process", "early"));
      await until(
        () => "it does not say why",
        async () => (await empty.client.deployment(id)).reason === "no_host_fits",
      );
      expect(await empty.client.deployment(id)).toMatchObject({
        status: "pending",
        message: expect.stringContaining("no host has joined"),
      });
      await sleep(1000);
      await empty.join({ name: "first" });
      await settled(empty, [{ name: "early", id, status: "running", replicas: 1, restarts: 0 }]);
      const at = (events: { new_status?: string | undefined; timestamp: string }[], status: string) =>
        Date.parse(events.find((one) => one.new_status === status)?.timestamp ?? "");
      const ready = at(await empty.client.events(`/hosts/${(await empty.client.host("first")).id}`), "ready");
      const taken = at(await empty.client.events(`/deployments/${id}`), "running");
      expect(taken - ready).toBeLessThan(2000);
    } finally {
      await empty.close();
    }
  });
});

describe("what it says of itself", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start([{ name: "one" }, { name: "two", transport: "call" }], { docker });
  });
  afterAll(() => cluster?.close());

  test.each(RUNTIMES)("logs, metrics and exec of a worker on %s", async (runtime) => {
    const { client } = cluster;
    const command = ["/bin/sh", "-c", `echo "I am $NAME"; echo trouble >&2; trap exit TERM; sleep 100000 & wait`];
    const { id } = await client.apply(
      worker(cluster, runtime, "talker", { replicas: 2, command, environment: { NAME: "lamp" } }),
    );
    await settled(cluster, [{ name: "talker", id, status: "running", replicas: 2, restarts: 0 }]);
    const told = (lines: LogLine[]) => lines.map(({ stream, message }) => `${stream} ${message}`).sort();
    let lines: LogLine[] = [];
    await until(
      () => `the logs are ${JSON.stringify(lines)}`,
      async () => {
        lines = await client.json<LogLine[]>(`/deployments/${id}/logs`);
        return lines.length >= 4;
      },
    );
    expect(told(lines)).toEqual(["stderr trouble", "stderr trouble", "stdout I am lamp", "stdout I am lamp"]);
    expect(new Set(lines.map(({ instance }) => instance)).size).toBe(2);
    const metrics = await client.json<{
      instance_count: number;
      total_memory: { usage_bytes: number };
      unavailable: unknown[];
    }>(`/deployments/${id}/metrics`);
    expect(metrics).toMatchObject({ instance_count: 2, unavailable: [] });
    expect(metrics.total_memory.usage_bytes).toBeGreaterThan(0);
    for (const { id: instance } of (await client.deployment(id)).instances) {
      const answer = await client.send("POST", `/deployments/${id}/exec`, {
        body: { command: ["/bin/sh", "-c", "echo $NAME; exit 4"], instance },
      });
      expect([answer.status, JSON.parse(answer.text) as ExecResult]).toMatchObject([
        200,
        { exit_code: 4, stdout: "lamp\n" },
      ]);
    }
    await client.delete(id);
    await settled(cluster, []);
  });
});
