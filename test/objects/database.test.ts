// The DatabaseObject inside workerd: its lines to gateways, its host, its alarm; and an eviction between any two steps.
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, test, vi } from "vitest";
import { newId, workloadId } from "../../contract/id.ts";
import { credentials } from "../../contract/scram.ts";
import type { Workload } from "../../contract/workload.ts";
import { startSeries } from "../../objects/database/starts.ts";
import { shardOf } from "../../objects/projection.ts";
import {
  create,
  database,
  done,
  hostFor,
  key,
  mutation,
  reasons,
  restsWithout,
  SALT,
  state,
  stub,
  until,
  upAt,
  view,
} from "./database-world.ts";
import { SimulatedGateway as Gate } from "./simulated-gateway.ts";

describe("a database that nobody has connected to", () => {
  test("is made once by the same request, rests without an alarm, and its name is taken", async () => {
    const by = mutation(key());
    const { id, name, reply } = await create({}, by);
    expect(reply.ok && reply.value.status).toBe(201);
    expect((await create({ id, name }, by)).reply).toEqual(reply);
    await until(async () => (await state(id)) === "stopped", "prepared");
    await restsWithout(id);
    expect(await reasons(id)).toEqual(["database_created", "stopped"]);
    expect((await create({ name })).reply).toMatchObject({ ok: false, refusal: { code: "name_taken" } });
    expect(await view(id)).toMatchObject({ current_scale: 0, target_scale: 0, term: 0, scale_state: "STEADY" });
  });

  test("many of them hold no alarm", async () => {
    const made = await Promise.all(Array.from({ length: 60 }, () => create()));
    for (const { id } of made) await until(async () => (await state(id)) === "stopped", "prepared");
    for (const { id } of made) await restsWithout(id);
  });

  test("asking after one that was never made leaves nothing behind", async () => {
    const id = newId("database", Date.now());
    expect(await database(id).read([])).toMatchObject({ ok: false, refusal: { code: "not_found" } });
    expect(await database(id).lookup("x", [])).toBeNull();
    const tables = await runInDurableObject(stub(id), (_o, c) =>
      c.storage.sql.exec("SELECT 1 FROM sqlite_master").toArray(),
    );
    expect(tables).toEqual([]);
  });
});

/** How many starts by rung 3 for a connection the lists know of. */
async function startsOf(namespace: string): Promise<number> {
  const { tallies } = await env.INDEX.getByName(shardOf(namespace)).census();
  return startSeries(new Map(tallies.map(({ word, count }) => [word, count]))).samples.reduce(
    (sum, { suffix, labels, value }) =>
      suffix === "_count" && labels.rung === "3" && labels.cause === "connection" ? sum + value : sum,
    0,
  );
}

describe("waking and sleeping", () => {
  const why = async (id: string): Promise<{ asleep_because: string | null; asleep_since: string | null }> => {
    const reply = await database(id).explain([]);
    if (!reply.ok) throw new Error(reply.refusal.detail);
    const { asleep_because, asleep_since } = JSON.parse(reply.value);
    return { asleep_because, asleep_since };
  };
  afterEach(() => void vi.useRealTimers());
  const forward = async (id: string, ms: number) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
    await runDurableObjectAlarm(stub(id));
  };

  test("hundreds of clients at several gateways make one start; idle it stops, a late client wakes it again", async () => {
    const { agent, placement, starts } = await hostFor();
    const { id } = await create({ placement });
    const gates = await Promise.all(Array.from({ length: 5 }, () => new Gate(id).dial()));
    for (let i = 0; i < 200; i++) gates[i % 5]?.connect();
    await until(() => gates.every(({ term }) => term === 1), "all are let in");
    expect(starts.map(({ generation }) => generation)).toEqual([1]);
    const awake = await view(id);
    expect(awake).toMatchObject({ state: "ready", term: 1, current_scale: 1, backend_addr: "127.0.0.1:20000" });
    expect(awake.last_start).toMatchObject({ rung: 3, cause: "connection", client: { application_name: "psql" } });
    expect(awake.awake_because.length).toBe(5);
    await until(async () => (await startsOf(awake.namespace)) > 0, "the start is counted for the metrics");

    for (const gate of gates) gate.leave();
    await until(async () => (await view(id)).awake_because.length === 0, "nobody is there");
    expect((await view(id)).idle_stop_at).not.toBeNull();
    await forward(id, 6_000);
    await until(async () => ["stopping", "stopped"].includes(await state(id)), "it stops");
    expect(gates.every((gate) => gate.count("quiesce") === 1)).toBe(true);
    gates[0]?.connect();
    await until(() => gates[0]?.term === 2, "the late client is let in");
    expect(starts.map(({ generation }) => generation)).toEqual([1, 2]);

    // What an older term still says changes nothing.
    const row = workloadId(id, 0);
    await database(id).observe(agent.id, [
      { term: 1, observation: { phase: "gone", id: row, generation: 1, at: Date.now() } },
      { term: 1, observation: upAt({ id: row, generation: 1 } as Workload, "127.0.0.1:1") },
    ]);
    expect(await view(id)).toMatchObject({ state: "ready", term: 2, backend_addr: "127.0.0.1:20000" });
    for (const gate of gates) gate.close();
  });

  test("a gateway with a client, or a client that no gateway tells of, keeps it awake", async () => {
    const { agent, placement } = await hostFor();
    const { id } = await create({ placement });
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.term === 1, "let in");
    gate.leave();
    gate.isQuiet = false;
    await until(async () => (await view(id)).awake_because.length === 0, "left");
    await forward(id, 6_000);
    await until(async () => (await reasons(id)).includes("idle_stop_abandoned"), "it is not quiet");
    expect(await state(id)).toBe("ready");
    gate.isQuiet = true;
    agent.answers = () => ({ clients: 2 });
    await forward(id, 12_000);
    await until(async () => (await reasons(id)).filter((one) => one === "idle_stop_abandoned").length === 2, "counted");
    expect(await state(id)).toBe("ready");
    gate.close();
  });

  test("why it sleeps is what it was stopped for, whatever is changed afterwards", async () => {
    const { placement } = await hostFor();
    const { id } = await create({ placement });
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.term === 1, "let in");
    gate.leave();
    await until(async () => (await view(id)).awake_because.length === 0, "left");
    await forward(id, 7_000);
    await until(async () => (await state(id)) === "stopped", "stopped");
    const asleep = await why(id);
    expect(asleep.asleep_because).toMatch(/^nobody was there for \d+ s$/);
    expect(asleep.asleep_since).not.toBeNull();
    await database(id).update({ idle_timeout: 400 }, mutation(), []);
    expect(await why(id)).toEqual(asleep);
    gate.close();
  });

  test("goes on where it was after an eviction between any two steps", async () => {
    const { agent, placement, starts } = await hostFor();
    agent.behaviour = (workload) => {
      if (workload.spec.writer?.purpose === "discard") return done(workload);
      starts.push(workload);
      return null;
    };
    const { id } = await create({ placement });
    const evict = async () => {
      await evictDurableObject(stub(id));
      await evictDurableObject(env.HOST.getByName(agent.id));
    };
    await evict();
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => starts.length === 1, "ordered");
    await until(async () => (await state(id)) === "booting", "booting");
    await evictDurableObject(stub(id));
    await agent.report(upAt(starts[0] as Workload));
    await until(() => gate.term === 1, "the line outlived the eviction");
    await evictDurableObject(stub(id));
    expect(await state(id)).toBe("ready");
    gate.leave();
    await until(async () => (await view(id)).awake_because.length === 0, "left");
    await evictDurableObject(stub(id));
    await forward(id, 6_000);
    await evictDurableObject(stub(id));
    await until(async () => (await state(id)) === "stopped", "stopped");
    gate.send({ kind: "release", idle_ms: 1 });
    await until(async () => (await database(id).leases([])).ok, "heard");
    gate.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await restsWithout(id);
  });

  test("a writer that dies with clients is started again under a higher term, and one without is left", async () => {
    const { agent, placement, starts } = await hostFor();
    const { id } = await create({ placement });
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.term === 1, "let in");
    gate.say();
    await agent.exit(workloadId(id, 0), 1);
    await until(() => gate.term === 2, "again");
    expect(starts.map(({ spec }) => spec.writer?.served_term)).toEqual([0, 1]);
    gate.leave();
    await until(async () => (await view(id)).awake_because.length === 0, "left");
    await agent.exit(workloadId(id, 0), 1);
    await until(async () => (await state(id)) === "stopped", "left alone");
    expect((await why(id)).asleep_because).toMatch(/^the writer ended, and nobody was there: /);
    gate.close();
  });

  test("a start that fails is tried again, and then refused for a while", async () => {
    const { agent, placement } = await hostFor();
    agent.behaviour = ({ id, generation }) => ({
      ...{ phase: "failed", id, generation, at: Date.now() },
      failure: { kind: "error", reason: "keepers_unreachable", message: "too few keepers answer" },
    });
    const { id } = await create({ placement });
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.count("failed") === 1, "told");
    expect(await view(id)).toMatchObject({ state: "error", term: 3, failed: { code: "keepers_unreachable" } });
    expect(gate.frames.find(({ kind }) => kind === "failed")).toMatchObject({ reason: "keepers_unreachable" });
    // The keepers may come back: nobody can give up what they have.
    expect(await database(id).acceptLoss(mutation(), [])).toMatchObject({
      ...{ ok: false, refusal: { code: "action_not_allowed" } },
    });
    expect((await view(id)).allowedActions.accept_loss).toMatchObject({ allowed: false, code: "nothing_lost" });
    agent.behaviour = (workload) => upAt(workload);
    await forward(id, 5_000);
    gate.say();
    await until(() => gate.term === 4, "woken when the cause is gone");
    gate.close();
  });
});

describe("the lease of a writer", () => {
  test("is renewed while it should run, and not from its withdrawal on", async () => {
    const { agent, placement } = await hostFor();
    const { id } = await create({ placement });
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.term === 1, "let in");
    const answers: number[] = [];
    agent.renewed = ({ writers }) => void answers.push(writers.length);
    const row = workloadId(id, 0);
    const ask = (nth: number, generation: number) =>
      agent.send({ kind: "renew", nth, writers: [{ id: row, generation }] });
    await ask(1, 1);
    await ask(2, 2);
    await until(() => answers.length === 2, "answered");
    expect(answers).toEqual([1, 0]);
    await agent.host.withdraw(id, [{ id: row, generation: 1 }]);
    const left = await agent.host.writerLeaseLeft();
    expect(left).toBeGreaterThan(20_000);
    expect(left).toBeLessThanOrEqual(25_000);
    await ask(3, 1);
    await until(() => answers.length === 3, "answered");
    expect(answers[2]).toBe(0);
    expect(await agent.host.writerLeaseLeft()).toBeLessThanOrEqual(left);
    gate.close();
  });
});

describe("passwords", () => {
  test("two are valid at once, each by what PostgreSQL has; a third ends the first", async () => {
    const { id, name } = await create();
    await until(async () => (await state(id)) === "stopped", "prepared");
    const add = async (password: string) => {
      const made = await credentials(newId("credential", Date.now()), password, SALT);
      return database(id).rotate(made, null, mutation(), []);
    };
    expect(await add("second")).toMatchObject({ ok: true });
    const two = await database(id).lookup(name, []);
    expect(two?.verifiers.map(({ bridge }) => bridge?.to ?? null)).toEqual([null, two?.database?.installed]);
    expect(await add("third")).toMatchObject({ ok: true });
    const three = await database(id).lookup(name, []);
    expect(three?.verifiers.length).toBe(2);
    expect(three?.verifiers[1]?.id).toBe(two?.verifiers[0]?.id);
    const old = three?.verifiers[1]?.id as string;
    expect(await database(id).retire(old, mutation(), [])).toMatchObject({ ok: true });
    expect((await database(id).lookup(name, []))?.verifiers.length).toBe(1);
    expect(await database(id).lookup("another", [])).toMatchObject({ database: null });
    const stored = await runInDurableObject(stub(id), (_o, c) =>
      JSON.stringify(c.storage.sql.exec("SELECT * FROM credential").toArray()),
    );
    for (const password of ["first", "second", "third"]) expect(stored).not.toContain(`"${password}"`);
  });
});

describe("deletion", () => {
  test("ends every line, removes the copy, gives the name up, and leaves a tombstone only", async () => {
    const { agent, placement } = await hostFor();
    const heard: string[] = [];
    agent.heard = ({ spec, want }) => void heard.push(`${spec.writer?.purpose} ${want}`);
    const { id, name } = await create({ placement });
    const gate = await new Gate(id).dial();
    gate.connect();
    await until(() => gate.term === 1, "let in");
    expect(await database(id).delete(mutation(), [])).toMatchObject({ ok: true, value: { status: 204 } });
    await until(async () => !(await database(id).read([])).ok, "gone");
    expect(gate.count("revoked")).toBeGreaterThan(0);
    expect(heard).toContain("discard running");
    const rows = await runInDurableObject(agent.host ? env.HOST.getByName(agent.id) : stub(id), (_o, c) =>
      c.storage.sql.exec("SELECT id FROM workload WHERE spec IS NOT NULL").toArray(),
    );
    expect(rows).toEqual([]);
    expect((await create({ name })).reply.ok).toBe(true);
    gate.close();
  });

  test("one that was never started is gone at once", async () => {
    const { id } = await create();
    await database(id).delete(mutation(), []);
    await until(async () => !(await database(id).read([])).ok, "gone");
  });
});
