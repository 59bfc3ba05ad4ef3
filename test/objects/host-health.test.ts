import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { HealthResult, Usage } from "../../contract/health.ts";
import { newId, workloadId } from "../../contract/id.ts";
import { workloadSpec } from "../../contract/manifest.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import type { Workload } from "../../contract/workload.ts";
import type { HostObject } from "../../objects/host/object.ts";
import { running, SimulatedAgent } from "./simulated-agent.ts";

type Told = { host: string; results: HealthResult[] };

async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
const inHost = <T>(agent: SimulatedAgent, work: (object: HostObject, state: DurableObjectState) => T) =>
  runInDurableObject(env.HOST.getByName(agent.id), (object, state) => work(object as HostObject, state));

async function joined(): Promise<SimulatedAgent> {
  const agent = await SimulatedAgent.enrol();
  await connected(agent);
  return agent;
}

async function connected(agent: SimulatedAgent): Promise<void> {
  await agent.connect();
  await until(async () => {
    const reply = await agent.host.read();
    return reply.ok && JSON.parse(reply.value.body).status === "ready";
  }, "ready");
}

function workload(generation = 1, owner = newId("deployment", Date.now())): Workload {
  const result = checkManifest({ name: "w", runtime: "podman", image: "x" });
  if (!result.ok) throw new Error(JSON.stringify(result.violations));
  const spec = workloadSpec(result.manifest);
  return { id: workloadId(owner, 0), generation, owner, want: "running", probing: "readiness", spec };
}

async function assigned(agent: SimulatedAgent, made = workload()): Promise<Workload> {
  expect(await agent.host.assign([made])).toEqual([{ accepted: true }]);
  await until(() => agent.workloads.get(made.id)?.workload.generation === made.generation, "applied");
  return made;
}

let moment = Date.now();
const result = ({ id, generation }: Workload, over: Partial<HealthResult> = {}): HealthResult => ({
  id,
  generation,
  check: 0,
  type: "tcp",
  status: "failed",
  message: "refused",
  started_at: ++moment,
  finished_at: moment,
  streak: 1,
  healthy: false,
  tripped: 0,
  ...over,
});

/** Has the host tell the test instead of its owners. An owner that the test lets fail is told again. */
async function overheard(agent: SimulatedAgent) {
  const health: Told[] = [];
  const used: Usage[][] = [];
  const order: string[] = [];
  const owner = { fails: 0, begun: 0, wait: Promise.resolve() };
  await inHost(agent, (object) => {
    const { env } = object as unknown as { env: { DEPLOYMENT: unknown } };
    const stub = {
      probed: async (host: string, results: HealthResult[]) => {
        owner.begun++;
        await owner.wait;
        if (owner.fails > 0) {
          owner.fails--;
          throw new Error("the owner is away");
        }
        order.push("health");
        health.push({ host, results });
      },
      used: async (_host: string, usages: Usage[]) => {
        await owner.wait;
        if (owner.fails > 0) {
          owner.fails--;
          throw new Error("the owner is away");
        }
        used.push(usages);
      },
      observe: async () => {
        await new Promise((resolve) => setTimeout(resolve, 30));
        order.push("observed");
      },
      evict: async () => {},
    };
    Object.defineProperty(object, "env", { value: { ...env, DEPLOYMENT: { getByName: () => stub } } });
  });
  return { health, used, owner, order, results: () => health.flatMap(({ results }) => results) };
}

describe("results of health checks", () => {
  test("reach the owner once, the newest of each check, whatever comes twice or late", async () => {
    const agent = await joined();
    const mine = await assigned(agent);
    const { health, results } = await overheard(agent);
    const first = result(mine);
    const other = result(mine, { check: 1 });
    const second = result(mine, { tripped: 1 });
    await agent.send({ kind: "health", results: [first, other] });
    await until(() => results().length === 2, "told");
    await agent.send({ kind: "health", results: [second] });
    await until(() => results().length === 3, "told");
    await agent.send({ kind: "health", results: [first, second, other] });
    const last = result(mine, { status: "success" });
    await agent.send({ kind: "health", results: [last] });
    await until(() => results().includes(last) || results().length > 3, "told");
    expect(results()).toEqual([first, other, second, last]);
    expect(new Set(health.map(({ host }) => host))).toEqual(new Set([agent.id]));
  });

  test("of an older generation, of what is to go, and of what was never here, go nowhere", async () => {
    const agent = await joined();
    const mine = await assigned(agent);
    const { results } = await overheard(agent);
    await agent.send({ kind: "health", results: [result(mine)] });
    await until(() => results().length === 1, "told");
    const next = await assigned(agent, workload(2, mine.owner));
    const fresh = result(next, { started_at: 1, finished_at: 1 });
    await agent.send({ kind: "health", results: [result(mine), result(workload()), fresh] });
    await until(() => results().length === 2, "told");
    expect(results()[1]).toEqual(fresh);
    agent.behaviour = () => null;
    await agent.host.withdraw(mine.owner, [next]);
    await agent.send({ kind: "health", results: [result(next)] });
    await agent.send({ kind: "heartbeat" });
    await until(async () => (await agent.host.withdraw(mine.owner, [next]))[0] === "gone", "gone");
    expect(results()).toHaveLength(2);
    expect(await inHost(agent, (_, state) => state.storage.sql.exec("SELECT * FROM health").toArray())).toEqual([]);
  });

  test("are told again until the owner has had them, and only as they are then", async () => {
    const agent = await joined();
    const mine = await assigned(agent);
    const { results, owner } = await overheard(agent);
    owner.fails = 2;
    const first = result(mine);
    const second = result(mine, { status: "success" });
    await agent.send({ kind: "health", results: [first] });
    await until(() => owner.fails < 2, "tried");
    await agent.send({ kind: "health", results: [second] });
    await until(() => results().length > 0, "told");
    expect(results()).toEqual([second]);
  });

  test("that come while the owner is being told are told after that", async () => {
    const agent = await joined();
    const mine = await assigned(agent);
    const { results, owner } = await overheard(agent);
    const held = Promise.withResolvers<void>();
    owner.wait = held.promise;
    const first = result(mine);
    await agent.send({ kind: "health", results: [first] });
    await until(() => owner.begun === 1, "being told");
    const second = result(mine, { tripped: 1 });
    await agent.send({ kind: "health", results: [second] });
    await until(
      () =>
        inHost(agent, (_, state) =>
          JSON.stringify(state.storage.sql.exec("SELECT result FROM health").toArray()).includes('\\"tripped\\":1'),
        ),
      "kept",
    );
    held.resolve();
    await until(() => results().some(({ tripped }) => tripped === 1), "told");
    // The first may have been overtaken before it was on its way: the newest says all.
    expect(results().at(-1)).toEqual(second);
  });

  test("survive the object: what was kept and not told is told when it is back", async () => {
    const agent = await joined();
    const mine = await assigned(agent);
    const { owner } = await overheard(agent);
    owner.fails = 1_000;
    const first = result(mine);
    await agent.send({ kind: "health", results: [first] });
    await until(() => owner.fails < 1_000, "tried");
    await evictDurableObject(env.HOST.getByName(agent.id), { webSockets: "hibernate" });
    const after = await overheard(agent);
    await inHost(agent, async (object, state) => {
      state.storage.sql.exec("UPDATE outbox SET due_at = 0");
      await object.poke();
    });
    await until(() => after.results().length > 0, "told");
    expect(after.results()).toEqual([first]);
    // A new connection restates it, and that is no news.
    await connected(agent);
    const second = result(mine, { check: 1 });
    await agent.send({ kind: "health", results: [first, second] });
    await until(() => after.results().length > 1, "told");
    expect(after.results()).toEqual([first, second]);
  });
});

test("health is told after what was seen before it, never ahead of it", async () => {
  const agent = await joined();
  agent.behaviour = () => null;
  const mine = await assigned(agent);
  const { order, results } = await overheard(agent);
  await agent.report(running(mine));
  await agent.send({ kind: "health", results: [result(mine)] });
  await until(() => results().length === 1, "told");
  expect(order.indexOf("observed")).toBeGreaterThanOrEqual(0);
  expect(order.indexOf("observed")).toBeLessThan(order.indexOf("health"));
});

describe("which checks run", () => {
  test("is sent with the workload, and changes without a new generation, once", async () => {
    const agent = await joined();
    const sent: (string | undefined)[] = [];
    agent.heard = (command) => sent.push(command.probing);
    const mine = await assigned(agent);
    await agent.host.probing(mine.owner, [mine], "all");
    await until(() => sent.length === 2, "sent");
    await agent.host.probing(mine.owner, [mine], "all");
    await agent.host.probing(mine.owner, [{ ...mine, generation: 2 }], "readiness");
    await agent.host.probing(newId("deployment", Date.now()), [mine], "readiness");
    expect(await agent.host.assign([mine])).toEqual([{ accepted: true }]);
    await connected(agent);
    await until(() => sent.length >= 3, "restated");
    expect(sent).toEqual(["readiness", "all", "all"]);
    await assigned(agent, workload(2, mine.owner));
    expect(sent.at(-1)).toBe("readiness");
  });

  test("is sent when the agent is back, if it was away", async () => {
    const agent = await joined();
    const mine = await assigned(agent);
    agent.disconnect();
    await agent.host.probing(mine.owner, [mine], "all");
    const sent: (string | undefined)[] = [];
    agent.heard = (command) => sent.push(command.probing);
    await connected(agent);
    await until(() => sent.length > 0, "restated");
    expect(sent).toEqual(["all"]);
  });
});

test("usage goes to the owner, the newest only, and what is lost is lost", async () => {
  const agent = await joined();
  const mine = await assigned(agent);
  const { used, owner } = await overheard(agent);
  const usage = (at: number, { id, generation }: Workload = mine): Usage => ({
    id,
    generation,
    at,
    cpu_usage_percent: at,
    memory_usage_bytes: 0,
  });
  await agent.send({ kind: "usage", usages: [usage(1), usage(1, workload()), usage(1, { ...mine, generation: 2 })] });
  await until(() => used.length === 1, "told");
  const held = Promise.withResolvers<void>();
  owner.wait = held.promise;
  for (const at of [2, 3, 4, 5]) await agent.send({ kind: "usage", usages: [usage(at)] });
  await agent.send({ kind: "heartbeat" });
  await agent.host.recheck([]);
  await new Promise((resolve) => setTimeout(resolve, 50));
  held.resolve();
  await until(() => used.length === 3, "told");
  expect(used).toEqual([[usage(1)], [usage(2)], [usage(5)]]);
  owner.fails = 1;
  await agent.send({ kind: "usage", usages: [usage(6)] });
  await until(() => owner.fails === 0, "lost");
  await agent.send({ kind: "usage", usages: [usage(7)] });
  await until(() => used.length === 4, "told");
  expect(used[3]).toEqual([usage(7)]);
});
