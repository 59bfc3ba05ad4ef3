import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { DeploymentView } from "../../contract/deployment.ts";
import { newId } from "../../contract/id.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import type { Mutation } from "../../contract/request.ts";
import type { DeploymentObject } from "../../objects/deployment/object.ts";
import type { IndexObject } from "../../objects/index/object.ts";
import { addCreation, addReplacement } from "../../objects/namespace/claim.ts";
import { deliver } from "../../objects/namespace/deliver.ts";
import type { NamespaceObject } from "../../objects/namespace/object.ts";
import { CLUSTER_SHARD, shardOf } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import { running, SimulatedAgent } from "./simulated-agent.ts";

const mutation = (over: Partial<Mutation> = {}): Mutation => ({
  actor: "tok_test",
  request_id: "req_test",
  if_match: null,
  idempotency: null,
  ...over,
});

let agent: SimulatedAgent;
const label = crypto.randomUUID();
beforeAll(async () => {
  agent = await SimulatedAgent.enrol("sim", { test: label });
  await agent.connect();
  await until(async () => (await hostView()).status === "ready");
});
afterEach(() => {
  agent.behaviour = (workload) => running(workload);
});

async function hostView(): Promise<{ status: string; workloads: number; reserved: { memory_bytes: number } }> {
  const reply = await agent.host.read();
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value.body);
}

async function until(condition: () => Promise<boolean> | boolean, what = "condition"): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function manifest(over: Record<string, unknown> = {}) {
  const result = checkManifest({
    name: `w-${crypto.randomUUID()}`.slice(0, 40),
    namespace: "objects",
    runtime: "podman",
    image: "x",
    placement: { labels: { test: label } },
    ...over,
  });
  if (!result.ok) throw new Error(JSON.stringify(result.violations));
  return result.manifest;
}

const namespace = (name = "objects") => remote<NamespaceObject>(env.NAMESPACE, name);
async function apply(over: Record<string, unknown> = {}, by: Partial<Mutation> = {}): Promise<DeploymentView> {
  const reply = await namespace().apply({ manifest: manifest(over), mutation: mutation(by), dryRun: false });
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value.body);
}
const deployment = (id: string) => remote<DeploymentObject>(env.DEPLOYMENT, id);
async function view(id: string): Promise<DeploymentView | null> {
  const reply = await deployment(id).read([]);
  return reply.ok ? JSON.parse(reply.value.body) : null;
}
const reaches = (id: string, status: string) =>
  until(async () => (await view(id))?.status === status, `${id} ${status}`);
const stub = (id: string) => env.DEPLOYMENT.getByName(id);

async function seqs(id: string): Promise<number[]> {
  const reply = await deployment(id).events([], null, 1000);
  return reply.ok ? reply.value.map((text) => JSON.parse(text).seq).reverse() : [];
}
async function everythingRests(id: string) {
  return runInDurableObject(stub(id), async (_object, state) => ({
    alarm: await state.storage.getAlarm(),
    timers: state.storage.sql.exec("SELECT name FROM timer").toArray(),
    letters: state.storage.sql.exec("SELECT key FROM outbox").toArray(),
  }));
}

describe("a deployment", () => {
  test("comes to run on a host, is listed, and then rests without an alarm", async () => {
    const { id, status } = await apply({ replicas: 3 });
    expect(status).toBe("pending");
    await reaches(id, "running");
    // The last alarm rings in vain: that is cheaper than to move it with every letter.
    await until(async () => (await everythingRests(id)).alarm === null);
    expect(await everythingRests(id)).toEqual({ alarm: null, timers: [], letters: [] });
    expect((await seqs(id)).every((seq, i) => seq === i + 1)).toBe(true);
    const listed = await remote<IndexObject>(env.INDEX, shardOf("objects")).list({
      kind: "deployment",
      namespaces: ["objects"],
      names: [],
      statuses: [],
      types: [],
      labels: [],
      before: null,
      limit: 1000,
    });
    const row = listed.bodies.map((body) => JSON.parse(body) as DeploymentView).find((other) => other.id === id);
    expect(row).toEqual(await view(id));
  });

  test("survives eviction between any two steps", async () => {
    agent.behaviour = () => null;
    const { id } = await apply();
    await reaches(id, "creating");
    await evictDurableObject(stub(id));
    const workload = `${id}-0`;
    await until(() => agent.workloads.has(workload));
    const known = agent.workloads.get(workload);
    if (!known) throw new Error("not applied");
    await agent.report(running(known.workload));
    await reaches(id, "running");
    await evictDurableObject(stub(id));
    await evictDurableObject(env.HOST.getByName(agent.id), { webSockets: "hibernate" });
    await agent.exit(workload, 1);
    await until(async () => (await view(id))?.restart_count === 1);
    await evictDurableObject(stub(id));
    agent.behaviour = (w) => running(w);
    // The back-off of one second is the object's own alarm.
    await until(async () => agent.workloads.get(workload)?.workload.generation === 2);
    await reaches(id, "running");
    await evictDurableObject(stub(id));
    expect((await deployment(id).delete(mutation(), [])).ok).toBe(true);
    await until(async () => (await view(id)) === null, "purged");
    expect(agent.workloads.has(workload)).toBe(false);
  });

  test("does nothing twice when its alarm rings twice, or its host says everything twice", async () => {
    const { id } = await apply();
    await reaches(id, "running");
    await until(async () => (await everythingRests(id)).letters.length === 0);
    const before = { view: await view(id), seqs: await seqs(id) };
    const known = agent.workloads.get(`${id}-0`);
    if (!known) throw new Error("not applied");
    await agent.report(known.observation);
    await agent.report({ ...known.observation, at: Date.now() });
    await runInDurableObject(stub(id), (_object, state) => state.storage.setAlarm(Date.now() + 60_000));
    await runDurableObjectAlarm(stub(id));
    await runInDurableObject(stub(id), (_object, state) => state.storage.setAlarm(Date.now() + 60_000));
    await runDurableObjectAlarm(stub(id));
    expect({ view: await view(id), seqs: await seqs(id) }).toEqual(before);
    await until(async () => (await everythingRests(id)).alarm === null);
  });

  test("is healed by the index when its alarm is lost for good", async () => {
    agent.behaviour = ({ id, generation }) => ({
      phase: "failed",
      id,
      generation,
      at: Date.now(),
      failure: { kind: "config_error", reason: "x", message: "no config" },
    });
    const { id } = await apply();
    await reaches(id, "config_error");
    await until(async () => (await everythingRests(id)).letters.length === 0);
    // Six retries of a throwing alarm are over, and the runtime has dropped it.
    await runInDurableObject(stub(id), async (_object, state) => {
      const [row] = state.storage.sql.exec<{ state: string }>("SELECT state FROM deployment").toArray();
      state.storage.sql.exec("UPDATE deployment SET state = 'not json'");
      state.storage.sql.exec("UPDATE timer SET due_at = 1");
      for (let attempt = 0; attempt < 7; attempt++)
        await expect((_object as DeploymentObject).alarm()).rejects.toThrow();
      state.storage.sql.exec("UPDATE deployment SET state = ?", row?.state);
      await state.storage.deleteAlarm();
    });
    agent.behaviour = (workload) => running(workload);
    const index = env.INDEX.getByName(shardOf("objects"));
    await runInDurableObject(index, (_object, state) => {
      state.storage.sql.exec("UPDATE entry SET poke_at = 1 WHERE id = ?", id);
      state.storage.sql.exec("INSERT OR REPLACE INTO timer VALUES ('sweep', 1)");
    });
    await until(async () => {
      await runInDurableObject(index, (_object, state) => void state.storage.setAlarm(Date.now() + 60_000));
      await runDurableObjectAlarm(index);
      return (await view(id))?.status === "running";
    }, "healed");
  });

  test("is there after a crash right after the commit that decided it", async () => {
    for (let round = 0; round < 5; round++) {
      const promise = apply().catch(() => null);
      if (round % 2 === 0) await new Promise((resolve) => setTimeout(resolve, round));
      await abortAllDurableObjects();
      await promise;
      await agent.connect();
    }
    const listed = async () => {
      const claims = await runInDurableObject(env.NAMESPACE.getByName("objects"), (_object, state) => ({
        claims: state.storage.sql.exec<{ deployment_id: string }>("SELECT deployment_id FROM claim").toArray(),
        letters: state.storage.sql.exec("SELECT key FROM outbox").toArray().length,
      }));
      return claims;
    };
    await until(async () => (await listed()).letters === 0, "namespace's letters sent");
    for (const { deployment_id } of (await listed()).claims)
      await until(
        async () => ["running", "config_error"].includes((await view(deployment_id))?.status ?? ""),
        deployment_id,
      );
  });
});

describe("applying", () => {
  test("the same key answers the same body, and makes one deployment", async () => {
    const body = manifest();
    const by = mutation({ idempotency: { key: crypto.randomUUID(), fingerprint: "f" } });
    const replies = await Promise.all(
      Array.from({ length: 10 }, () => namespace().apply({ manifest: body, mutation: by, dryRun: false })),
    );
    expect(new Set(replies.map((reply) => JSON.stringify(reply))).size).toBe(1);
    const other = await namespace().apply({
      manifest: body,
      mutation: { ...by, idempotency: { key: by.idempotency?.key ?? "", fingerprint: "g" } },
      dryRun: false,
    });
    expect(other).toMatchObject({ ok: false, refusal: { code: "idempotency_key_reused" } });
  });

  test("what replaces a deployment that is yet to be made is no sooner heard than its creation", async () => {
    const identity = { id: newId("deployment", Date.now()), created_at: Date.now(), manifest: manifest() };
    const asker = { actor: "tok_test", request_id: "req_test" };
    const name = `replaced-${crypto.randomUUID()}`;
    await namespace(name).claimName("database", "any", "db_any", mutation(), true);
    await runInDurableObject(env.NAMESPACE.getByName(name), async (_, { storage }) => {
      storage.transactionSync(() => {
        addCreation(storage.sql, { ...identity, replaces: null, takes_over: null, force_replace: null }, asker, 1);
        addReplacement(storage.sql, identity.id, "dep_newer", "it was forced", asker, 1);
      });
      await deliver(`replace ${identity.id}`, storage.sql, env, name);
      await deliver(`create ${identity.id}`, storage.sql, env, name);
    });
    await until(async () => (await deployment(identity.id).standing()).status === "gone", "gone");
  });

  test("twenty at once to one name leave one deployment alive", async () => {
    const name = `n-${crypto.randomUUID()}`.slice(0, 30);
    const views = await Promise.all(
      Array.from({ length: 20 }, (_, i) => apply({ name, environment: { V: String(i % 4) } })),
    );
    const ids = [...new Set(views.map(({ id }) => id))];
    await until(async () => {
      const statuses = await Promise.all(ids.map(async (id) => (await view(id))?.status ?? "purged"));
      return (
        statuses.filter((status) => status === "running").length === 1 &&
        statuses.every((status) => status === "running" || status === "purged")
      );
    }, "one left");
  });

  test("another manifest takes over: the old one is deleted, the new one runs", async () => {
    const name = `n-${crypto.randomUUID()}`.slice(0, 30);
    const first = await apply({ name });
    await reaches(first.id, "running");
    const second = await apply({ name, environment: { V: "2" } });
    expect(second.replaces).toBe(first.id);
    await until(async () => (await view(first.id)) === null);
    await reaches(second.id, "running");
    const third = await apply({ name, environment: { V: "2" } });
    expect(third.id).toBe(second.id);
  });

  test("a deletion with a key is answered the same after the deployment is gone", async () => {
    const { id } = await apply();
    await reaches(id, "running");
    const by = mutation({ idempotency: { key: crypto.randomUUID(), fingerprint: "f" } });
    const first = await deployment(id).delete(by, []);
    await until(async () => (await view(id)) === null, "purged");
    expect(await deployment(id).delete(by, [])).toEqual(first);
    expect(await deployment(id).delete(mutation(), [])).toMatchObject({ ok: false, refusal: { code: "not_found" } });
  });

  test("an older revision is refused", async () => {
    const name = `n-${crypto.randomUUID()}`.slice(0, 30);
    const { id } = await apply({ name });
    await reaches(id, "running");
    const reply = await namespace().apply({
      manifest: manifest({ name, replicas: 2 }),
      mutation: mutation({ if_match: 1 }),
      dryRun: false,
    });
    expect(reply).toMatchObject({ ok: false, refusal: { code: "precondition_failed" } });
    expect(await deployment(id).delete(mutation({ if_match: 1 }), [])).toMatchObject({
      ok: false,
      refusal: { code: "precondition_failed" },
    });
    expect((await view(id))?.status).toBe("running");
  });
});

describe("reading", () => {
  test("an unknown id, or one of a namespace out of sight, is not found and writes nothing", async () => {
    const { id } = await apply();
    expect(await deployment(id).read(["other"])).toMatchObject({ ok: false, refusal: { code: "not_found" } });
    expect(await deployment(id).delete(mutation(), ["other"])).toMatchObject({
      ok: false,
      refusal: { code: "not_found" },
    });
    const nobody = env.DEPLOYMENT.getByName("dep_00000000000000000000000000");
    expect(await nobody.read([])).toMatchObject({ ok: false });
    const tables = await runInDurableObject(nobody, (_object, state) =>
      state.storage.sql
        .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'")
        .toArray(),
    );
    expect(tables).toEqual([]);
  });

  test("waiting answers when the status comes, and at the latest when the time is over", async () => {
    agent.behaviour = () => null;
    const { id } = await apply();
    const waiting = deployment(id).waitFor([], ["running"], 10_000);
    await reaches(id, "creating");
    const known = agent.workloads.get(`${id}-0`);
    if (!known) throw new Error("not applied");
    await agent.report(running(known.workload));
    const reply = await waiting;
    expect(reply.ok && JSON.parse(reply.value.body).status).toBe("running");
    const late = await deployment(id).waitFor([], ["completed"], 20);
    expect(late.ok && JSON.parse(late.value.body).status).toBe("running");
  });
});

test("a deployment that no host fits is told when one comes", async () => {
  const unique = crypto.randomUUID();
  const { id } = await apply({ placement: { labels: { unique } } });
  await until(async () => (await view(id))?.reason === "no_host_fits");
  const other = await SimulatedAgent.enrol("later", { unique });
  await other.connect();
  await reaches(id, "running");
  expect(CLUSTER_SHARD).toBe("cluster");
  other.disconnect();
});

test("looking for a host again in vain is no new revision", async () => {
  const { id } = await apply({ placement: { labels: { unique: crypto.randomUUID() } } });
  await until(async () => (await view(id))?.reason === "no_host_fits");
  await until(async () => (await everythingRests(id)).letters.length === 0);
  // The hosts of other tests come and go, and the reason names them: once they rest, looking again says nothing new.
  await until(async () => {
    const before = await view(id);
    await deployment(id).capacityChanged();
    await until(async () => (await everythingRests(id)).letters.length === 0);
    return JSON.stringify(await view(id)) === JSON.stringify(before);
  });
});
