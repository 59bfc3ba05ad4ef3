import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DeploymentStatus, type DeploymentView, RETRY_DELAY_S } from "../../contract/deployment.ts";
import { testImage } from "../docker-image.ts";
import { freePort } from "../free-port.ts";
import { type ManifestBody, until } from "./client.ts";
import { Cluster, docker } from "./cluster.ts";
import { journalFaults, settled } from "./invariants.ts";
import { type TestRuntime, worker } from "./manifests.ts";

const RUNTIMES: TestRuntime[] = docker.available ? ["process", "docker"] : ["process"];

let cluster: Cluster;

/** Applies, waits for a status, and has looked at the journal by then. */
async function comesTo(manifest: ManifestBody, ...statuses: DeploymentStatus[]): Promise<DeploymentView> {
  const { id } = await cluster.client.apply(manifest);
  return reaches(id, ...statuses);
}

async function reaches(id: string, ...statuses: DeploymentStatus[]): Promise<DeploymentView> {
  let view: DeploymentView | undefined;
  await until(
    () => `${view?.name} is ${view?.status} (${view?.message}), not ${statuses.join(" or ")}`,
    async () => {
      view = await cluster.client.deployment(id);
      return statuses.includes(view.status);
    },
  );
  expect(await journalFaults(cluster, id)).toEqual([]);
  return view as DeploymentView;
}

/** On the one host that has this label, so that a host port can be fought for. */
const HERE = { placement: { labels: { site: "here" } } };

describe.concurrent("what cannot run", () => {
  beforeAll(async () => {
    const hosts = [
      { name: "one", labels: { site: "here" } },
      { name: "two", transport: "call" as const },
    ];
    cluster = await Cluster.start(hosts, { docker });
  });
  afterAll(async () => {
    try {
      // Whatever became of them, nothing of them is left once they are deleted.
      for (const { id } of await cluster.client.deployments()) await cluster.client.delete(id);
      await settled(cluster, []);
      expect(await cluster.world()).toMatchObject({ live: [], remains: [], shims: [] });
    } finally {
      await cluster?.close();
    }
  });

  test.each(RUNTIMES)(
    "a worker on %s that keeps dying waits 1, 2, 4, 8 s and is then given up; the same manifest starts over",
    async (runtime) => {
      const manifest = worker(cluster, runtime, `dies-on-${runtime}`, {
        command: ["/bin/sh", "-c", "echo dying; exit 3"],
      });
      const view = await comesTo(manifest, "crash_loop_back_off");
      expect(view).toMatchObject({ restart_count: 5, reason: "crash_loop_back_off" });
      expect(await cluster.liveOf(view.id)).toEqual([]);
      const events = await cluster.client.events(`/deployments/${view.id}`);
      const at = (reason: string) =>
        events.filter((event) => event.reason === reason).map(({ timestamp }) => Date.parse(timestamp));
      const deaths = at("instance_died");
      expect(deaths).toHaveLength(5);
      // A program that dies at once may have been seen dead only, never running; each death follows its start at once.
      const waits = deaths.slice(1).map((death, i) => (death - (deaths[i] as number)) / 1000);
      for (const [i, wait] of waits.entries()) {
        expect(wait).toBeGreaterThanOrEqual(RETRY_DELAY_S[i] as number);
        expect(wait).toBeLessThan((RETRY_DELAY_S[i] as number) + 5);
      }
      const again = await cluster.client.apply(manifest);
      expect(again).toMatchObject({ replaces: view.id, restart_count: 0 });
      const healed = await comesTo({ ...manifest, command: ["/bin/sleep", "100000"], stop_timeout: "0s" }, "running");
      expect(healed).toMatchObject({ replaces: again.id, restart_count: 0 });
      expect(await cluster.liveOf(healed.id)).toHaveLength(1);
    },
  );

  test("an image that is missing is tried again, and runs once it is there", { skip: !docker.available }, async () => {
    const tag = randomBytes(4).toString("hex");
    const image = `lamplighter/absent-${tag}:1`;
    const view = await comesTo(worker(cluster, "docker", "absent", { image }), "image_pull_back_off");
    expect(view.message).toContain(image);
    await until(
      () => "it is not tried again",
      async () => (await cluster.client.deployment(view.id)).restart_count > 0,
    );
    const made = cluster.engine?.getImage(testImage);
    await made?.tag({ repo: `lamplighter/absent-${tag}`, tag: "1" });
    try {
      const healed = await reaches(view.id, "running");
      expect(healed.restart_count).toBeGreaterThan(0);
      await cluster.client.delete(view.id);
      await until(
        () => "it stays",
        () => cluster.client.isGone(view.id),
      );
    } finally {
      await cluster.engine
        ?.getImage(image)
        .remove({ force: true })
        .catch(() => undefined);
    }
  });

  test.each(RUNTIMES)(
    "a command on %s that is not there: create_container_error, tried again and counted",
    async (runtime) => {
      const manifest = worker(cluster, runtime, `no-command-on-${runtime}`, { command: ["/no/such/program"] });
      const view = await comesTo(manifest, "create_container_error");
      expect(view.message).toContain("/no/such/program");
      await until(
        () => "it is not tried again",
        async () => (await cluster.client.deployment(view.id)).restart_count === 2,
      );
      expect(await cluster.client.deployment(view.id)).toMatchObject({ status: "create_container_error" });
      expect(await cluster.liveOf(view.id)).toEqual([]);
      expect(await journalFaults(cluster, view.id)).toEqual([]);
    },
  );

  test("more memory than any host has is insufficient_resources for good; more CPU than is free waits and says so", async () => {
    const huge = worker(cluster, "process", "huge", { resources: { requests: { memory: "900Ti" } } });
    const view = await comesTo(huge, "insufficient_resources");
    expect(view.message).toMatch(/900 TiB|900Ti/);
    expect(view.instances.filter(({ phase }) => phase === "running")).toEqual([]);
    const broad = await cluster.client.apply(
      worker(cluster, "process", "broad", { resources: { requests: { cpu: "9000" } } }),
    );
    await until(
      () => "it does not say why",
      async () => (await cluster.client.deployment(broad.id)).reason === "no_host_fits",
    );
    expect(await cluster.client.deployment(broad.id)).toMatchObject({
      status: "pending",
      message: expect.stringMatching(/CPU/),
    });
  });

  test.each(RUNTIMES)(
    "two deployments on %s want one host port: the second starts as soon as the first is deleted",
    async (runtime) => {
      const published = await freePort();
      const ports = [{ published, target: 8080 }];
      const first = await comesTo(worker(cluster, runtime, `port-first-${runtime}`, { ports, ...HERE }), "running");
      const second = await cluster.client.apply(worker(cluster, runtime, `port-second-${runtime}`, { ports, ...HERE }));
      await until(
        () => "it does not say why",
        async () => (await cluster.client.deployment(second.id)).message.includes(`${published}/tcp`),
      );
      expect(await cluster.client.deployment(second.id)).toMatchObject({ status: "pending", reason: "no_host_fits" });
      await cluster.client.delete(first.id);
      await until(
        () => "the first stays",
        () => cluster.client.isGone(first.id),
      );
      const since = Date.now();
      await reaches(second.id, "running");
      // It is told; looking again by itself would take half a minute at least.
      expect(Date.now() - since).toBeLessThan(15_000);
    },
  );

  test("a runtime or a label that no host has keeps it pending, with the reason", async () => {
    const nowhere = await cluster.client.apply(
      worker(cluster, "process", "nowhere", { placement: { labels: { site: "moon" } } }),
    );
    await until(
      () => "it does not say why",
      async () => (await cluster.client.deployment(nowhere.id)).message.includes("site=moon"),
    );
    expect(await cluster.client.deployment(nowhere.id)).toMatchObject({ status: "pending", reason: "no_host_fits" });
  });
});
