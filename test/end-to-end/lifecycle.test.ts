// The status lifecycle on a real container engine: every status, every edge of the two diagrams, and the way back by applying again from wherever a
// deployment can be stuck.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  DEPLOYMENT_STATUSES,
  type DeploymentStatus,
  type DeploymentView,
  MAX_RESTART_COUNT,
  RETRIED,
} from "../../contract/deployment.ts";
import { type ManifestBody, until } from "./client.ts";
import { Cluster, docker } from "./cluster.ts";
import { EventStream } from "./event-stream.ts";
import { startFaultyEngine } from "./faulty-engine.ts";
import { edgeFaults } from "./invariants.ts";
import { worker } from "./manifests.ts";
import { type Ground, TROUBLES, WELL } from "./troubles.ts";

type Kind = "worker" | "job";
type Edge = readonly [kind: Kind, from: DeploymentStatus, to: DeploymentStatus];

/** The two diagrams. Some way that leads through `creating` again counts as the edge past it. */
const DIAGRAM: readonly Edge[] = [
  ["worker", "pending", "creating"],
  ["worker", "creating", "running"],
  ["worker", "creating", "failed"],
  ["worker", "running", "deleted"],
  ["worker", "running", "crash_loop_back_off"],
  ["worker", "pending", "insufficient_resources"],
  ...RETRIED.flatMap((status): Edge[] => [
    ["worker", "creating", status],
    ["worker", status, "running"],
    ["worker", status, "crash_loop_back_off"],
  ]),
  ["job", "pending", "creating"],
  ["job", "creating", "running"],
  ["job", "running", "completed"],
  ["job", "running", "failed"],
  ["job", "create_container_error", "failed"],
];

const walked = new Set<string>();
const seen = new Set<string>();
const edge = (kind: Kind, from: string, to: string) => `${kind}: ${from} → ${to}`;

let cluster: Cluster;
let ground: Ground;
const streams: { kind: Kind; stream: EventStream }[] = [];

/** Applies, and listens from then on. */
async function begin(manifest: ManifestBody): Promise<DeploymentView> {
  const view = await cluster.client.apply(manifest);
  const kind = (manifest.kind as Kind | undefined) ?? "worker";
  streams.push({ kind, stream: new EventStream(cluster, `/deployments/${view.id}/events`) });
  seen.add(view.status);
  return view;
}

async function reaches(id: string, ...statuses: DeploymentStatus[]): Promise<DeploymentView> {
  let view: DeploymentView | undefined;
  await until(
    () => `${view?.name} is ${view?.status} (${view?.message}), not ${statuses.join(" or ")}`,
    async () => {
      view = await cluster.client.deployment(id);
      return statuses.includes(view.status);
    },
    120_000,
  );
  return view as DeploymentView;
}

const comesTo = async (manifest: ManifestBody, ...statuses: DeploymentStatus[]): Promise<DeploymentView> =>
  reaches((await begin(manifest)).id, ...statuses);

/** Out of a status by applying again: the count starts over, and it runs. */
async function recovers(stuck: DeploymentView, manifest: ManifestBody): Promise<void> {
  const again = await begin(manifest);
  expect(again.restart_count).toBe(0);
  const view = await reaches(again.id, manifest.kind === "job" ? "completed" : "running");
  expect(view.restart_count).toBeLessThan(MAX_RESTART_COUNT);
  if (again.id !== stuck.id)
    await until(
      () => "what was stuck stays",
      () => cluster.client.isGone(stuck.id),
    );
}

const isGone = (id: string) =>
  until(
    () => `${id} is not gone`,
    () => cluster.client.isGone(id),
  );
const reasons = async (id: string) => (await cluster.client.events(`/deployments/${id}`)).map(({ reason }) => reason);

const here = (name: string, more: Record<string, unknown> = {}) =>
  worker(cluster, "docker", name, { ...WELL, ...more });
const job = (name: string, script: string, more: Record<string, unknown> = {}) =>
  here(name, { kind: "job", command: ["/bin/sh", "-c", script], ...more });
const check = (file: string, more: Record<string, unknown> = {}) => ({
  volumes: [{ type: "bind", source: cluster.marks, destination: "/marks" }],
  health_checks: [
    {
      type: "command",
      command: `test -f /marks/${file}`,
      interval: "300ms",
      min_healthy_time: "1s",
      threshold: 2,
      ...more,
    },
  ],
});
const mark = (file: string) => writeFileSync(join(cluster.marks, file), "");

describe.skipIf(!docker.available)("the status lifecycle", () => {
  beforeAll(async () => {
    cluster = await Cluster.start([{ name: "well", labels: { engine: "well" }, runtimes: ["docker"] }], { docker });
    const faulty = await startFaultyEngine(join(cluster.folder, "engine.sock"), docker.path);
    const engine = cluster.engine as NonNullable<typeof cluster.engine>;
    ground = { cluster, engine, faulty, after: [faulty.stop] };
    const env = { DOCKER_HOST: `unix://${faulty.socketPath}` };
    await cluster.join({ name: "faulty", labels: { engine: "faulty" }, runtimes: ["docker"], env });
  });
  afterAll(async () => {
    await Promise.all(streams.map(({ stream }) => stream.close()));
    await cluster?.close();
    for (const undo of ground?.after.reverse() ?? []) await undo().catch(() => undefined);
  });

  describe.concurrent("every edge", () => {
    test("a worker without readiness runs as soon as it is up, stays so when it dies, and is deleted", async () => {
      const { id } = await comesTo(here("plain"), "running");
      const [victim] = await cluster.liveOf(id);
      await cluster.killInstance(victim as NonNullable<typeof victim>);
      await until(
        () => "the death is not counted",
        async () => (await cluster.client.deployment(id)).restart_count === 1,
      );
      await until(
        () => "it is not brought back",
        async () => (await cluster.liveOf(id)).some(({ key }) => key !== victim?.key),
      );
      expect(await cluster.client.deployment(id)).toMatchObject({ status: "running" });
      await cluster.client.delete(id);
      await isGone(id);
      expect(await cluster.liveOf(id)).toEqual([]);
    });

    test("the gate holds a worker in creating until it is ready; nothing drags it back afterwards", async () => {
      const held = await comesTo(here("gated", check("gated", { readiness: true, on_failure: "stop" })), "creating");
      await until(
        () => "it is not probed",
        async () => (await cluster.client.json<unknown[]>(`/deployments/${held.id}/health-checks`)).length > 0,
      );
      await sleep(1500);
      // Long past its threshold, and still nothing was done about it.
      expect(await cluster.client.deployment(held.id)).toMatchObject({ status: "creating", restart_count: 0 });
      mark("gated");
      await reaches(held.id, "running");
    });

    test("readiness that never comes is failed at the deadline; a mended manifest goes on", async () => {
      const manifest = here("never-ready", { ...check("never", { readiness: true }), rollout_deadline: "2s" });
      const view = await comesTo(manifest, "failed");
      expect(await reasons(view.id)).toContain("readiness_deadline_exceeded");
      // What runs of it is left running, as in Ring: its logs say why it was never ready. It goes with the deployment.
      await recovers(view, here("never-ready"));
      expect(await cluster.liveOf(view.id)).toEqual([]);
    });

    test("a liveness check that fails does what it says, and the status stays", async () => {
      for (const name of ["restart", "stop", "alert"]) mark(name);
      const on = (on_failure: string) => begin(here(on_failure, check(on_failure, { on_failure })));
      const [restart, stop, alert] = await Promise.all([on("restart"), on("stop"), on("alert")]);
      await Promise.all([restart, stop, alert].map(({ id }) => reaches(id, "running")));
      const [before] = await cluster.liveOf(restart.id);
      for (const name of ["restart", "stop", "alert"]) rmSync(join(cluster.marks, name));
      await isGone(stop.id);
      await until(
        () => "it is not told",
        async () => (await reasons(alert.id)).includes("health_check_alert"),
      );
      await until(
        () => "it is not started anew",
        async () => (await cluster.liveOf(restart.id)).some(({ key }) => key !== before?.key),
      );
      mark("restart");
      for (const { id } of [restart, alert])
        expect(await cluster.client.deployment(id)).toMatchObject({ status: "running", restart_count: 0 });
    });

    test("a worker that keeps dying is given up; a mended manifest goes on", async () => {
      const view = await comesTo(
        here("dies", { command: ["/bin/sh", "-c", "sleep 1; exit 3"] }),
        "crash_loop_back_off",
      );
      expect(view.restart_count).toBe(MAX_RESTART_COUNT);
      await recovers(view, here("dies"));
    });

    test("memory that no host has is for good; a smaller manifest goes on", async () => {
      const huge = here("huge", { resources: { requests: { memory: "900Ti" } } });
      await recovers(await comesTo(huge, "insufficient_resources"), here("huge"));
    });

    test("a child that is never ready is held in creating, and takes over at its deadline all the same", async () => {
      const first = await comesTo(here("child"), "running");
      const second = await begin(here("child", { ...check("child", { readiness: true }), rollout_deadline: "2s" }));
      expect(second.parent_id).toBe(first.id);
      await until(
        () => "the deadline is not over",
        async () => (await reasons(second.id)).includes("rolling_update_deadline_forced"),
      );
      expect(await cluster.client.deployment(second.id)).toMatchObject({ status: "creating" });
      await isGone(first.id);
    });

    test.each(RETRIED)("%s heals by itself when what was missing is there", async (status) => {
      const trouble = await TROUBLES[status](ground, `heals-${status.replaceAll("_", "-")}`, false);
      const { id, message } = await comesTo(trouble.manifest, status);
      expect(message).not.toBe("");
      await trouble.mend();
      expect((await reaches(id, "running")).id).toBe(id);
      expect(await cluster.liveOf(id)).toHaveLength(1);
    });

    test.each(RETRIED)("%s is left by applying again", async (status) => {
      const trouble = await TROUBLES[status](ground, `stuck-${status.replaceAll("_", "-")}`, false);
      const stuck = await comesTo(trouble.manifest, status);
      if (trouble.fixed === trouble.manifest) await trouble.mend();
      await recovers(stuck, trouble.fixed);
    });

    test.each(RETRIED)("%s is given up in the end, and applying again goes on", async (status) => {
      const trouble = await TROUBLES[status](ground, `ends-${status.replaceAll("_", "-")}`, true);
      const view = await comesTo(trouble.manifest, "crash_loop_back_off");
      expect(view.restart_count).toBe(MAX_RESTART_COUNT);
      if (trouble.fixed === trouble.manifest) await trouble.mend();
      await recovers(view, trouble.fixed);
    });

    test("a job that exits with 0 is completed, and applying another runs again", async () => {
      const view = await comesTo(job("done", "sleep 1"), "completed");
      expect(view.instances[0]?.exit).toMatchObject({ code: 0 });
      await recovers(view, job("done", "sleep 1; true"));
    });

    test.each([
      ["exits with 7", "exit 7", {}, { code: 7, signal: null, oom: false }],
      ["is ended by a signal", "kill -9 $$", {}, { oom: false }],
      ["runs out of memory", "tail /dev/zero", { resources: { limits: { memory: "16Mi" } } }, { oom: true }],
      ["runs out of time", "sleep 600", { deadline: "1500ms", stop_timeout: "1s" }, { timed_out: true }],
    ])("a job that %s is failed, and a mended one completes", async (what, script, more, exit) => {
      const name = what.replaceAll(" ", "-");
      const view = await comesTo(job(name, `sleep 1; ${script}`, more), "failed");
      expect(view.exit ?? view.instances[0]?.exit).toMatchObject(exit);
      await recovers(view, job(name, "true"));
    });

    test("a job that cannot be started is failed in the end", async () => {
      const volumes = [{ type: "bind", source: join(cluster.marks, "nothing"), destination: "/there" }];
      const view = await comesTo(job("unstartable", "true", { volumes }), "failed");
      expect(view.restart_count).toBe(MAX_RESTART_COUNT);
      await recovers(view, job("unstartable", "true"));
    });
  });

  test("together they have walked every edge of both diagrams, no other, and been in every status", async () => {
    await sleep(500);
    for (const { kind, stream } of streams) {
      expect(edgeFaults(stream.events)).toEqual([]);
      const path = ["pending", ...stream.statuses];
      for (const status of path) seen.add(status);
      path.forEach((to, i) => {
        if (i > 0) walked.add(edge(kind, path[i - 1] as string, to));
        if (i > 1 && path[i - 1] === "creating") walked.add(edge(kind, path[i - 2] as string, to));
      });
    }
    expect(DIAGRAM.map((one) => edge(...one)).filter((one) => !walked.has(one))).toEqual([]);
    expect(walked).not.toContain(edge("worker", "running", "completed"));
    expect(DEPLOYMENT_STATUSES.filter((one) => !seen.has(one))).toEqual([]);
  });
});
