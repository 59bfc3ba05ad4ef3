import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import type { DeploymentView } from "../../contract/deployment.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import { remote } from "../../objects/remote.ts";
import { ROOT } from "../../src/access.ts";
import { running, SimulatedAgent } from "./simulated-agent.ts";
import { Endpoint, mutation, until } from "./webhook-endpoint.ts";

let agent: SimulatedAgent;
const label = crypto.randomUUID();
beforeAll(async () => {
  agent = await SimulatedAgent.enrol("announcer", { test: label });
  await agent.connect();
});

const namespace = () => `ns-${crypto.randomUUID().slice(0, 8)}`;

async function apply(namespace: string, over: Record<string, unknown> = {}): Promise<DeploymentView> {
  const result = checkManifest({
    name: `w-${crypto.randomUUID()}`.slice(0, 20),
    namespace,
    runtime: "podman",
    image: "x",
    placement: { labels: { test: label } },
    ...over,
  });
  if (!result.ok) throw new Error(JSON.stringify(result.violations));
  const input = { manifest: result.manifest, mutation: mutation(), dryRun: false };
  const reply = await remote(env.NAMESPACE, namespace).apply(input);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value.body);
}

type Told = {
  id: string;
  type: string;
  data: { old_status: string; new_status: string; seq: number; deployment_id: string };
};
const told = async (endpoint: Endpoint): Promise<Told[]> =>
  (await endpoint.received()).map(({ headers, body }) => ({ id: String(headers["webhook-id"]), ...JSON.parse(body) }));

/** The changes of status that the journal has, as webhooks should be told of them. */
async function changes(id: string): Promise<string[]> {
  const reply = await remote(env.DEPLOYMENT, id).events([], null, 1000);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return reply.value
    .map((text) => JSON.parse(text))
    .filter(({ reason }) => reason === "state_transition")
    .map((event) => event.id)
    .reverse();
}

/** Leaves the object as a crash right after its commits had: the cursor is behind, and the letter waits for the alarm. */
const forget = (stub: DurableObjectStub) =>
  runInDurableObject(stub, async (_, { storage }) => {
    storage.sql.exec("UPDATE announced SET seq = 0");
    storage.sql.exec("INSERT OR REPLACE INTO outbox (key, version, due_at) VALUES ('announce', 1, 1)");
    await storage.setAlarm(Date.now() + 600_000);
  });

describe("a deployment's journal", () => {
  test("is told change by change, once each, to its end, and is not dropped before", async () => {
    const shop = namespace();
    const endpoint = await Endpoint.make({ events: ["deployment.status_changed"], namespaces: [shop] });
    const { id } = await apply(shop);
    await until(async () => (await told(endpoint)).some(({ data }) => data.new_status === "running"), "running");
    expect((await told(endpoint)).map((event) => event.id)).toEqual(await changes(id));
    await remote(env.DEPLOYMENT, id).delete(mutation(), []);
    await until(async () => !(await remote(env.DEPLOYMENT, id).read([])).ok, "purged");
    await until(async () => (await told(endpoint)).some(({ data }) => data.new_status === "deleted"), "deleted");
    const all = await told(endpoint);
    expect(all.map(({ data }) => `${data.old_status} → ${data.new_status}`)).toEqual([
      "pending → creating",
      "creating → running",
      "running → deleted",
    ]);
    expect(new Set(all.map((event) => event.id)).size).toBe(all.length);
    expect(all.map(({ data }) => data.seq)).toEqual(all.map(({ data }) => data.seq).sort((a, b) => a - b));
    expect(all[0]?.data).toMatchObject({ schema_version: 1, deployment_id: id, namespace: shop, kind: "worker" });
  });

  test("goes to those who want it: by namespace, by label, by type", async () => {
    const shop = namespace();
    const [mine, foreign, labelled, errors] = await Promise.all([
      Endpoint.make({ namespaces: [shop] }),
      Endpoint.make({ namespaces: ["another"] }),
      Endpoint.make({ namespaces: [shop], labels: { tier: "front" } }),
      Endpoint.make({ namespaces: [shop], events: ["deployment.error"] }),
    ]);
    agent.behaviour = ({ id, generation }) => ({
      phase: "failed",
      id,
      generation,
      at: Date.now(),
      failure: { kind: "image_pull_back_off", reason: "image_not_found", message: "there is no such image" },
    });
    const { id } = await apply(shop);
    await until(async () => (await told(errors)).length > 0, "an error");
    agent.behaviour = (workload) => running(workload);
    expect((await told(errors))[0]).toMatchObject({
      type: "deployment.error",
      data: { reason: "image_pull_back_off", category: "user", message: "there is no such image", deployment_id: id },
    });
    expect((await told(mine)).length).toBeGreaterThan(1);
    expect(await told(foreign)).toEqual([]);
    expect(await told(labelled)).toEqual([]);
    await remote(env.DEPLOYMENT, id).delete(mutation(), []);
  });

  test("is told when what was to announce it died before: between commit and enqueue, nothing is lost or doubled", async () => {
    const shop = namespace();
    const endpoint = await Endpoint.make({ namespaces: [shop], events: ["deployment.status_changed"] });
    const { id } = await apply(shop);
    await until(async () => (await told(endpoint)).some(({ data }) => data.new_status === "running"), "running");
    const stub = env.DEPLOYMENT.getByName(id);
    await forget(stub);
    await evictDurableObject(stub);
    await runDurableObjectAlarm(stub);
    await until(
      () =>
        runInDurableObject(stub, (_, { storage }) => storage.sql.exec("SELECT 1 FROM outbox").toArray().length === 0),
      "announced again",
    );
    expect((await told(endpoint)).map((event) => event.id)).toEqual(await changes(id));
    // And one whose endpoint had not heard of any of it yet.
    await runInDurableObject(endpoint.stub, (_, { storage }) => storage.sql.exec("DELETE FROM event"));
    await forget(stub);
    await abortAllDurableObjects();
    await runDurableObjectAlarm(env.DEPLOYMENT.getByName(id));
    await until(async () => (await told(endpoint)).length === 4, "all of it again");
    expect(new Set((await told(endpoint)).map((event) => event.id)).size).toBe(2);
    await agent.connect();
    await remote(env.DEPLOYMENT, id).delete(mutation(), []);
  });

  test("is kept beyond its thousand events until it is told", async () => {
    const shop = namespace();
    const { id } = await apply(shop);
    const stub = env.DEPLOYMENT.getByName(id);
    const count = () =>
      runInDurableObject(stub, (_, { storage }) =>
        storage.sql.exec<{ n: number; first: number }>("SELECT count(*) AS n, min(seq) AS first FROM journal").one(),
      );
    const fill = (pending: boolean) =>
      runInDurableObject(stub, async (_, { storage }) => {
        const { append } = await import("../../objects/journal.ts");
        if (pending) {
          storage.sql.exec("UPDATE announced SET seq = 3");
          storage.sql.exec(
            "INSERT OR REPLACE INTO outbox (key, version, due_at, attempts) VALUES ('announce', 1, 4102444800000, 1)",
          );
        } else storage.sql.exec("DELETE FROM outbox WHERE key = 'announce'");
        const entry = { level: "info", component: "scheduler", reason: "noise", message: "" } as const;
        for (let i = 0; i < 1100; i++)
          append(storage.sql, entry, { resourceId: id, actor: "test", revision: 1, now: Date.now() });
      });
    await fill(true);
    expect(await count()).toMatchObject({ first: 4 });
    await fill(false);
    expect(await count()).toMatchObject({ n: 1000 });
    await remote(env.DEPLOYMENT, id).delete(mutation(), []);
  });
});

test("a host's changes are told, and a webhook's own to the others", async () => {
  const [watcher, other] = [
    await Endpoint.make({ events: ["host.*", "webhook.*"], namespaces: [] }),
    await Endpoint.make({ namespaces: [] }, { status: 410 }),
  ];
  const newcomer = await SimulatedAgent.enrol("newcomer");
  await newcomer.connect();
  const types = async () =>
    (await told(watcher)).map(({ type, data }) => `${type} ${(data as Record<string, unknown>).new_status}`);
  await until(async () => (await types()).includes("host.status_changed ready"), "the host is ready");
  await until(async () => (await other.view()).status === "disabled", "the other is disabled");
  await until(async () => (await types()).includes("webhook.status_changed disabled"), "told");
  await other.behave();
  await other.object.update({}, "active", mutation(), ROOT);
  await until(async () => (await types()).includes("webhook.status_changed active"), "told again");
  expect((await other.deliveries()).filter(({ id }) => id.startsWith(other.id))).toEqual([]);
});

test("an endpoint that is made hears of everything that is committed after its creation was answered", async () => {
  const shop = namespace();
  for (let i = 0; i < 5; i++) {
    const endpoint = await Endpoint.make({ namespaces: [shop], events: ["deployment.status_changed"] });
    const { id } = await apply(shop);
    await until(async () => (await told(endpoint)).some(({ data }) => data.new_status === "running"), "running");
    expect((await told(endpoint)).map((event) => event.id)).toEqual(await changes(id));
    await remote(env.DEPLOYMENT, id).delete(mutation(), []);
    await endpoint.object.revoke(mutation(), ROOT);
  }
});
