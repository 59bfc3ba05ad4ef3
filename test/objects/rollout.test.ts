import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { DeploymentView } from "../../contract/deployment.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import type { Mutation } from "../../contract/request.ts";
import type { DeploymentObject } from "../../objects/deployment/object.ts";
import type { NamespaceObject } from "../../objects/namespace/object.ts";
import { remote } from "../../objects/remote.ts";
import { running, SimulatedAgent } from "./simulated-agent.ts";

const label = crypto.randomUUID();
let agent: SimulatedAgent;
beforeAll(async () => {
  agent = await SimulatedAgent.enrol("rollouts", { test: label });
  await agent.connect();
});
afterEach(() => {
  agent.behaviour = (workload) => running(workload);
});

const mutation = (): Mutation => ({ actor: "tok_test", request_id: "req_test", if_match: null, idempotency: null });
const namespace = () => remote<NamespaceObject>(env.NAMESPACE, "rollouts");
const deployment = (id: string) => remote<DeploymentObject>(env.DEPLOYMENT, id);

async function apply(name: string, over: Record<string, unknown> = {}, force = false) {
  const checked = checkManifest({
    name,
    namespace: "rollouts",
    runtime: "podman",
    image: "x",
    health_checks: [{ type: "tcp", port: 80, readiness: true, min_healthy_time: "0s" }],
    placement: { labels: { test: label } },
    ...over,
  });
  if (!checked.ok) throw new Error(JSON.stringify(checked.violations));
  const reply = await namespace().apply({ manifest: checked.manifest, mutation: mutation(), dryRun: false, force });
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return { ...(JSON.parse(reply.value.body) as DeploymentView), action: reply.value.action };
}

async function view(id: string): Promise<DeploymentView | null> {
  const reply = await deployment(id).read([]);
  return reply.ok ? JSON.parse(reply.value.body) : null;
}

async function until(condition: () => Promise<boolean>, what: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within 15 s: ${JSON.stringify(await what())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Tells that every running instance is ready, or is not, as its agent would. */
async function probe(id: string, healthy: boolean, tripped = 0): Promise<void> {
  const now = Date.now();
  for (const instance of (await view(id))?.instances ?? []) {
    const match = /^(.*)-g(\d+)$/.exec(instance.id);
    if (instance.phase !== "running" || !match || instance.host_id === null) continue;
    await deployment(id).probed(instance.host_id, [
      {
        id: match[1] as string,
        generation: Number(match[2]),
        check: 0,
        type: "tcp",
        status: healthy ? "success" : "failed",
        message: healthy ? "" : "connection refused",
        started_at: now,
        finished_at: now,
        streak: 1,
        healthy,
        tripped,
      },
    ]);
  }
}

/** Probes whatever comes up until the deployment is in the status. */
async function readied(id: string, status = "running"): Promise<DeploymentView> {
  await until(
    async () => {
      await probe(id, true);
      return (await view(id))?.status === status;
    },
    () => view(id),
  );
  return (await view(id)) as DeploymentView;
}

const reasons = async (id: string): Promise<string[]> => {
  const reply = await deployment(id).events([], null, 1000);
  return reply.ok ? reply.value.map((body) => (JSON.parse(body) as { reason: string }).reason) : [];
};
const gone = (id: string) => async () => (await view(id)) === null;
const fresh = () => `r-${crypto.randomUUID()}`.slice(0, 30);

describe("readiness", () => {
  test("comes from the agent by way of its host, and has the other checks begin", async () => {
    const probing: (string | undefined)[] = [];
    const checks = [
      { type: "tcp", port: 80, readiness: true, min_healthy_time: "0s" },
      { type: "tcp", port: 81, threshold: 1, on_failure: "alert" },
    ];
    const { id } = await apply(fresh(), { health_checks: checks });
    const mine = `${id}-0`;
    agent.heard = (workload) => {
      if (workload.id === mine) probing.push(workload.probing);
    };
    const result = (check: number, over: object) => ({
      id: mine,
      generation: agent.workloads.get(mine)?.workload.generation ?? 0,
      check,
      type: "tcp" as const,
      status: "success" as const,
      message: "",
      started_at: Date.now(),
      finished_at: Date.now(),
      streak: 1,
      healthy: true,
      tripped: 0,
      ...over,
    });
    await until(
      async () => agent.workloads.has(mine),
      () => view(id),
    );
    // At once, before the deployment can have heard that it runs.
    await agent.send({ kind: "health", results: [result(0, {})] });
    await until(
      async () => (await view(id))?.status === "running" && probing.at(-1) === "all",
      () => view(id),
    );
    expect(agent.workloads.get(mine)?.workload.generation).toBe(result(0, {}).generation);
    await agent.send({ kind: "health", results: [result(1, { status: "failed", healthy: false, tripped: 1 })] });
    await until(
      async () => (await reasons(id)).includes("health_check_alert"),
      () => reasons(id),
    );
    agent.heard = () => {};
  });

  test("holds in creating until every instance is green, and says which is not", async () => {
    const { id } = await apply(fresh(), { replicas: 2 });
    await until(
      async () => (await view(id))?.reason === "not_ready",
      () => view(id),
    );
    expect((await view(id))?.message).toContain("0 of 2 replicas ready; instance 0, check 0 (tcp 80): no result yet");
    await probe(id, false);
    expect((await view(id))?.message).toContain("connection refused");
    await probe(id, true);
    expect(await view(id)).toMatchObject({ status: "running", instances: [{ ready: true }, { ready: true }] });
    // Once it runs, a red check is no way back.
    await probe(id, false);
    expect((await view(id))?.status).toBe("running");
    const kept = await deployment(id).healthResults([], 100, false);
    expect(kept.ok && kept.value.map((body) => JSON.parse(body).status)).toEqual([
      "failed",
      "failed",
      "success",
      "success",
      "failed",
      "failed",
    ]);
  });

  test.each([
    ["alert", "health_check_alert"],
    ["restart", "health_check_instance_restart"],
    ["stop", "health_check_stop"],
  ])("on_failure: %s", async (on_failure, reason) => {
    const { id } = await apply(fresh(), {
      health_checks: [{ type: "tcp", port: 80, readiness: true, min_healthy_time: "0s", on_failure }],
    });
    await readied(id);
    const before = (await view(id))?.instances[0]?.id;
    await probe(id, false, 1);
    if (on_failure === "stop") return until(gone(id), () => view(id));
    expect(await reasons(id)).toContain(reason);
    const count = (await reasons(id)).filter((one) => one === reason).length;
    await probe(id, false, 1);
    expect((await reasons(id)).filter((one) => one === reason)).toHaveLength(count);
    if (on_failure === "restart")
      await until(
        async () => {
          const now = await view(id);
          return now?.status === "running" && now.restart_count === 0 && now.instances[0]?.id !== before;
        },
        () => view(id),
      );
  });
});

describe("a rolling update", () => {
  test("replaces one by one, and nothing of the parent is left", async () => {
    const name = fresh();
    const first = await apply(name, { replicas: 3 });
    expect(first.action).toBe("create");
    await readied(first.id);
    const second = await apply(name, { replicas: 3, image: "y" });
    expect(second).toMatchObject({ action: "roll", parent_id: first.id });
    await until(
      async () => (await view(second.id))?.instances[0]?.phase === "running",
      () => view(second.id),
    );
    // Nothing is ready yet: the parent is whole.
    expect(await view(first.id)).toMatchObject({ status: "running", rollout: { role: "parent", keeps: 3 } });
    const now = await readied(second.id);
    await until(gone(first.id), () => view(first.id));
    await until(
      async () => (await view(second.id))?.rollout === undefined,
      () => view(second.id),
    );
    expect(now.instances).toHaveLength(3);
    const told = await reasons(second.id);
    expect(told.filter((reason) => reason === "rolling_update_step")).toHaveLength(3);
    expect(told).toContain("rolling_update_complete");
    expect(await namespace().revisions(name)).toMatchObject([
      { revision: 2, outcome: "complete", active: true, deployment_id: second.id },
      { revision: 1, outcome: "applied", active: false, deployment_id: first.id },
    ]);
  });

  test("undone goes back; rolled back applies the earlier manifest again", async () => {
    const name = fresh();
    const first = await apply(name, { image: "one" });
    await readied(first.id);
    const second = await apply(name, { image: "two" });
    const undone = await deployment(second.id).act("undo", mutation(), []);
    expect(undone.ok).toBe(true);
    await until(gone(second.id), () => view(second.id));
    await until(
      async () => (await view(first.id))?.rollout === undefined,
      () => view(first.id),
    );
    expect(await view(first.id)).toMatchObject({ status: "running" });
    const third = await apply(name, { image: "three" });
    expect(third.action).toBe("roll");
    await readied(third.id);
    await until(gone(first.id), () => view(first.id));
    const back = await namespace().rollBack(name, third.id, null, mutation());
    if (!back.ok) throw new Error(back.refusal.detail);
    const fourth = JSON.parse(back.value.body) as DeploymentView;
    expect(fourth.image).toBe("one");
    await readied(fourth.id);
    await until(gone(third.id), () => view(third.id));
    expect((await namespace().revisions(name)).map(({ outcome, cause }) => `${outcome}: ${cause}`)).toEqual([
      "complete: rollback to 1",
      "complete: apply",
      "rolled_back: apply",
      "applied: apply",
    ]);
    expect(await namespace().rollBack(name, first.id, null, mutation())).toMatchObject({
      ok: false,
      refusal: { code: "action_not_allowed" },
    });
  });

  test("survives that every object forgets everything in memory, again and again", async () => {
    const name = fresh();
    const first = await apply(name, { replicas: 2 });
    await readied(first.id);
    const second = await apply(name, { replicas: 2, image: "y" });
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await abortAllDurableObjects();
      if (i === 0) await agent.connect();
      else await agent.connect();
      await probe(second.id, true);
      await evictDurableObject(env.DEPLOYMENT.getByName(second.id)).catch(() => {});
    }
    await readied(second.id);
    await until(gone(first.id), () => view(first.id));
    expect((await view(second.id))?.instances).toHaveLength(2);
  });

  test("forced, or without a health check, replaces at once and says why", async () => {
    const name = fresh();
    const first = await apply(name);
    await readied(first.id);
    const second = await apply(name, { image: "y" }, true);
    expect(second.action).toBe("replace");
    expect((await view(second.id))?.replaces).toBe(first.id);
    const forced = await deployment(second.id).events([], null, 10);
    expect(forced.ok && forced.value.join()).toContain("it was forced");
    await until(gone(first.id), () => view(first.id));
    await readied(second.id);
    const third = await apply(name, { health_checks: [] });
    expect(third.action).toBe("replace");
    const events = await deployment(third.id).events([], null, 10);
    expect(events.ok && events.value.join()).toContain("no health check");
  });

  test("of replicas alone keeps the deployment and its instances", async () => {
    const name = fresh();
    const first = await apply(name, { replicas: 1 });
    const before = (await readied(first.id)).instances[0]?.id;
    const more = await apply(name, { replicas: 3 });
    expect(more).toMatchObject({ action: "amend", id: first.id, replicas: 3, status: "running" });
    await until(
      async () => (await view(first.id))?.instances.filter(({ phase }) => phase === "running").length === 3,
      () => view(first.id),
    );
    expect((await view(first.id))?.instances[0]?.id).toBe(before);
    expect(await reasons(first.id)).toContain("scale_up");
    const less = await apply(name, { replicas: 1 });
    expect(less.instances.map(({ id }) => id)).toEqual([before]);
    expect((await apply(name, { replicas: 1 })).action).toBe("unchanged");
  });
});
