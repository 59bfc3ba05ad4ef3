// The runtime `docker` where DOCKER_HOST is Podman's socket: the whole life of a worker and of a job, through the control plane and a real agent.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ExecResult, LogLine } from "../../contract/workload.ts";
import { type PodmanService, startPodman } from "../podman.ts";
import { requires } from "../requires.ts";
import { until } from "./client.ts";
import { Cluster } from "./cluster.ts";
import { settled } from "./invariants.ts";
import { job, worker } from "./manifests.ts";

const podman = await requires("podman");

describe.skipIf(!podman.available)("the runtime docker on Podman", () => {
  let service: PodmanService;
  let cluster: Cluster;
  beforeAll(async () => {
    service = await startPodman(podman.path);
    const env = { DOCKER_HOST: `unix://${service.socketPath}` };
    cluster = await Cluster.start([{ name: "one", runtimes: ["docker"], env }], {
      docker: { available: true, reason: "", path: service.socketPath },
    });
  });
  afterAll(async () => {
    await cluster?.close();
    await service?.stop();
  });

  test("a worker runs, is probed, measured, read and entered, comes back when it dies, is rolled over, and is deleted", async () => {
    const { client } = cluster;
    const command = ["/bin/sh", "-c", 'echo "I am $NAME"; trap exit TERM; sleep 100000 & wait'];
    const health_checks = [
      { type: "command", command: "test -d /bin", interval: "300ms", readiness: true, min_healthy_time: "500ms" },
    ];
    const manifest = worker(cluster, "docker", "web", { command, health_checks, environment: { NAME: "one" } });
    const { id } = await client.apply(manifest);
    const expected = { name: "web", id, status: "running", replicas: 1, restarts: 0 } as const;
    const [first] = (await settled(cluster, [expected])).get(id) ?? [];
    expect((await client.events(`/deployments/${id}`)).flatMap(({ new_status }) => new_status ?? [])).toEqual([
      "creating",
      "running",
    ]);
    let lines: LogLine[] = [];
    await until(
      () => `the logs are ${JSON.stringify(lines)}`,
      async () => {
        lines = await client.json<LogLine[]>(`/deployments/${id}/logs`);
        return lines.some(({ message }) => message === "I am one");
      },
    );
    const metrics = await client.json<{ instance_count: number; unavailable: unknown[] }>(`/deployments/${id}/metrics`);
    expect(metrics).toMatchObject({ instance_count: 1, unavailable: [] });
    const entered = await client.send("POST", `/deployments/${id}/exec`, {
      body: { command: ["/bin/sh", "-c", "echo $NAME"] },
    });
    expect(JSON.parse(entered.text) as ExecResult).toMatchObject({ exit_code: 0, stdout: "one\n" });

    if (first === undefined) throw new Error("nothing runs");
    await cluster.killInstance(first);
    const [second] = (await settled(cluster, [{ ...expected, restarts: 1 }])).get(id) ?? [];
    expect(second?.key).not.toBe(first.key);
    await until(
      () => "it is not ready again",
      async () => (await client.deployment(id)).instances[0]?.ready === true,
    );

    const next = await client.apply({ ...manifest, environment: { NAME: "two" } });
    expect(next.parent_id).toBe(id);
    await settled(cluster, [{ ...expected, id: next.id }]);
    await client.delete(next.id);
    await settled(cluster, []);
    expect((await cluster.world()).remains).toEqual([]);
  });

  test("a job's exit code is told, and what runs outlives its agent", async () => {
    const { id } = await cluster.client.apply({ ...job(cluster, "docker", "once", 7, 2) });
    await until(
      () => "it does not run",
      async () => (await cluster.client.deployment(id)).status === "running",
    );
    await cluster.noteBoots();
    await cluster.killAgent("one");
    cluster.startAgent("one");
    await cluster.ready("one");
    await settled(cluster, [{ name: "once", id, status: "failed", replicas: 0, restarts: 0 }]);
    expect((await cluster.client.deployment(id)).instances[0]?.exit).toMatchObject({ code: 7 });
  });
});
