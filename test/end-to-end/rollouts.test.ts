import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DeploymentView } from "../../contract/deployment.ts";
import type { HealthResultView } from "../../contract/health.ts";
import { type ManifestBody, until } from "./client.ts";
import { Cluster } from "./cluster.ts";

/** Answers with its version; on SIGTERM it goes on answering for a moment, as long as somebody may still know its address. */
const SERVER = `
  const { createServer } = require("node:http");
  const late = Number(process.env.READY_AFTER_MS ?? 0);
  const from = Date.now() + late;
  const server = createServer((request, response) => {
    response.writeHead(request.url === "/ready" && Date.now() < from ? 503 : 200, { connection: "close" });
    response.end(process.env.VERSION);
  });
  server.listen(Number(process.env.PORT));
  process.on("SIGTERM", () => setTimeout(() => process.exit(0), 1500));
`;

describe("rolling updates of real processes", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start([{ name: "one" }, { name: "two", transport: "call" }]);
  });
  afterAll(() => cluster?.close());

  const site = (name: string, version: string, more: Record<string, unknown> = {}): ManifestBody => ({
    name,
    namespace: cluster.namespace,
    runtime: "process",
    command: [process.execPath, "-e", SERVER],
    environment: { VERSION: version, ...((more.environment as object) ?? {}) },
    ports: [{ target: 80 }],
    health_checks: [
      {
        type: "http",
        url: "http://localhost:80/ready",
        interval: "200ms",
        readiness: true,
        min_healthy_time: "300ms",
      },
    ],
    stop_timeout: "5s",
    ...Object.fromEntries(Object.entries(more).filter(([key]) => key !== "environment")),
  });

  const reached = (id: string, status: string) =>
    until(
      () => `${id} is not ${status}`,
      async () => {
        const view = await cluster.client.deployment(id);
        return view.status === status && view.rollout === undefined ? view : null;
      },
    );
  const addresses = (views: readonly DeploymentView[]): string[] =>
    views.flatMap((view) =>
      view.instances.flatMap((one) =>
        one.phase === "running" && one.ready === true ? [`127.0.0.1:${one.ports?.[0]?.published}`] : [],
      ),
    );
  const named = async (name: string) =>
    (await cluster.client.deployments()).filter((view) => view.name === name && view.status !== "deleted");

  test("under load, no request fails, and every answer after the end is of the new version", async () => {
    const first = await cluster.client.apply(site("load", "one", { replicas: 3 }));
    await reached(first.id, "running");
    let [served, failed] = [0, [] as string[]];
    let isOver = false;
    let known = addresses(await named("load"));
    // Who uses it learns the addresses as it would from any registry: a little late.
    const watching = (async () => {
      for (; !isOver; await sleep(100)) {
        const now = addresses(await named("load"));
        if (now.length > 0) known = now;
      }
    })();
    const load = Array.from({ length: 4 }, async () => {
      for (let i = 0; !isOver; i++) {
        const address = known[i % known.length] as string;
        try {
          const response = await fetch(`http://${address}/`, { signal: AbortSignal.timeout(5000) });
          await response.text();
          if (response.ok) served++;
          else failed.push(`${address}: ${response.status}`);
        } catch (error) {
          failed.push(`${address}: ${(error as Error).cause ?? error}`);
        }
        await sleep(5);
      }
    });
    const second = await cluster.client.apply(
      site("load", "two", { replicas: 3, environment: { READY_AFTER_MS: "500" } }),
    );
    expect(second.parent_id).toBe(first.id);
    await reached(second.id, "running");
    await until(
      () => "the old version is not gone",
      () => cluster.client.isGone(first.id),
    );
    isOver = true;
    await Promise.all([...load, watching]);
    expect(failed).toEqual([]);
    expect(served).toBeGreaterThan(100);
    for (const address of addresses(await named("load")))
      expect(await (await fetch(`http://${address}/`)).text()).toBe("two");
    const results = await cluster.client.json<HealthResultView[]>(`/deployments/${second.id}/health-checks`);
    expect(results.map(({ status }) => status)).toEqual(expect.arrayContaining(["failed", "success"]));
    await cluster.client.delete(second.id);
  });

  test("the control plane and an agent are killed in the middle: it ends all the same", async () => {
    const first = await cluster.client.apply(site("killed", "one", { replicas: 2 }));
    await reached(first.id, "running");
    const second = await cluster.client.apply(site("killed", "two", { replicas: 2 }));
    await sleep(300);
    await cluster.noteBoots();
    await Promise.all([cluster.killPlane(), cluster.killAgent("one")]);
    await cluster.startPlane();
    cluster.startAgent("one");
    cluster.forgetBoot("two");
    for (const name of cluster.names) await cluster.ready(name);
    const view = await reached(second.id, "running");
    expect(view.instances).toHaveLength(2);
    await until(
      () => "the old version is not gone",
      () => cluster.client.isGone(first.id),
    );
    await cluster.client.delete(second.id);
  });

  test("one that never gets ready goes back by itself, and the old version was never touched", async () => {
    const first = await cluster.client.apply(site("bad", "one", { replicas: 2 }));
    const before = (await reached(first.id, "running")).instances.map(({ id }) => id);
    const second = await cluster.client.apply(
      site("bad", "two", {
        replicas: 2,
        environment: { READY_AFTER_MS: "600000" },
        rollout_deadline: "2s",
        on_deadline: "rollback",
      }),
    );
    await until(
      () => "the new version is not gone",
      () => cluster.client.isGone(second.id),
    );
    const after = await reached(first.id, "running");
    expect(after.instances.map(({ id }) => id)).toEqual(before);
    const revisions = await cluster.client.json<{ outcome: string }[]>(`/deployments/${first.id}/revisions`);
    expect(revisions.map(({ outcome }) => outcome)).toEqual(["rolled_back", "applied"]);
    await cluster.client.delete(first.id);
  });

  test("a job that runs out of time is killed and failed; one that fails is tried again", async () => {
    const job = (name: string, command: string[], more: Record<string, unknown>): ManifestBody => ({
      name: `${name}-${randomUUID().slice(0, 8)}`,
      namespace: cluster.namespace,
      runtime: "process",
      kind: "job",
      command,
      stop_timeout: "1s",
      ...more,
    });
    const slow = await cluster.client.apply(job("slow", ["sleep", "600"], { deadline: "700ms", retries: 3 }));
    const failed = await reached(slow.id, "failed");
    expect(failed).toMatchObject({ reason: "deadline_exceeded", exit: { timed_out: true } });
    const wrong = await cluster.client.apply(job("wrong", ["false"], { retries: 1, ttl_after_finished: "500ms" }));
    await until(
      () => "the failed job is not deleted",
      () => cluster.client.isGone(wrong.id),
    );
  });
});
