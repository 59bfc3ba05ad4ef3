import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { BuildView } from "../../contract/build.ts";
import { ConnectionCreate, type ConnectionView, connectionSpec } from "../../contract/connection.ts";
import { type EngineTask, EngineTask as Task } from "../../contract/engine-task.ts";
import type { JournalEvent } from "../../contract/event.ts";
import { newId } from "../../contract/id.ts";
import type { InstanceView } from "../../contract/instance.ts";
import type { InstanceAction } from "../../contract/instance-action.ts";
import { InstanceCreate, specOf } from "../../contract/instance-check.ts";
import { REPORT_ENV, type ReportBody } from "../../contract/instance-report.ts";
import type { Mutation } from "../../contract/request.ts";
import type { Workload } from "../../contract/workload.ts";
import type { BuildQueueObject } from "../../objects/build-queue/object.ts";
import type { ConnectionObject } from "../../objects/connection/object.ts";
import type { ActInput, InstanceObject } from "../../objects/instance/object.ts";
import { remote } from "../../objects/remote.ts";
import { built, FAILED_BUILD, GOOD_TEST } from "../decide/driven-instance.ts";
import { running, SimulatedAgent } from "./simulated-agent.ts";

const SPACE = "instances";
const mutation = (over: Partial<Mutation> = {}): Mutation => ({
  actor: "tok_test",
  request_id: `req_${crypto.randomUUID()}`,
  if_match: null,
  idempotency: null,
  ...over,
});
const fresh = () => `i${crypto.randomUUID().slice(0, 12)}`;
const instanceOf = (id: string) => remote<InstanceObject>(env.INSTANCE, id);
const queueOf = (region: string) => remote<BuildQueueObject>(env.BUILD_QUEUE, region);

let agent: SimulatedAgent;
/** What the programs say, by what they do; null keeps silent. */
let says: (task: EngineTask) => ReportBody | null = () => null;
/** Every task that was started, by workload id and generation. */
const tasks = new Map<string, EngineTask>();
/** Reports on their way: they are sent as the programs would. */
let reporting: Promise<unknown> = Promise.resolve();

const taskOf = (workload: Workload): EngineTask =>
  Task.parse(JSON.parse(workload.spec.environment[REPORT_ENV.task] as string));
const WELL = (task: EngineTask): ReportBody =>
  task.do === "test"
    ? { kind: "tested", test: GOOD_TEST }
    : task.do === "build"
      ? built()
      : { kind: "loaded", rows: 7, tables: 3 };

async function report(workload: Workload, body: ReportBody) {
  const { operation } = taskOf(workload);
  const said = { workload_id: workload.id, generation: workload.generation, operation, body };
  return workload.owner.startsWith("conn_")
    ? remote<ConnectionObject>(env.CONNECTION, workload.owner).report(said)
    : instanceOf(workload.owner).report(said);
}

beforeAll(async () => {
  agent = await SimulatedAgent.enrol("engines");
  agent.runtime = "process";
  agent.heard = (workload) => {
    if (workload.want !== "running") return;
    const task = taskOf(workload);
    if (tasks.has(`${workload.id}/${workload.generation}`)) return;
    tasks.set(`${workload.id}/${workload.generation}`, task);
    const body = says(task);
    if (body !== null) reporting = reporting.then(() => report(workload, body));
  };
  agent.answers = () => ({ exit_code: 0, stdout: "", stderr: "", truncated: false });
  await agent.connect();
});
afterAll(async () => {
  await agent.host.remove(mutation(), true);
  agent.disconnect();
});
afterEach(() => {
  says = () => null;
  agent.behaviour = (workload) => running(workload);
  vi.useRealTimers();
});

async function connection(): Promise<string> {
  const id = newId("connection", Date.now());
  const body = ConnectionCreate.parse({
    name: fresh(),
    namespace: SPACE,
    host: "db",
    user: "u",
    password: "pw",
    schemas: ["shop"],
  });
  const identity = { id, name: body.name, namespace: SPACE, database_id: null, created_at: Date.now() };
  const made = await remote<ConnectionObject>(env.CONNECTION, id).create({
    identity,
    spec: connectionSpec(body),
    password: body.password,
    mutation: mutation(),
    mayCreateNamespace: true,
  });
  if (!made.ok) throw new Error(made.refusal.detail);
  return id;
}

async function make(over: Record<string, unknown> = {}): Promise<string> {
  const id = newId("instance", Date.now());
  const region = fresh();
  const body = InstanceCreate.parse({
    name: fresh(),
    namespace: SPACE,
    connection_id: await connection(),
    schema: "shop",
    region,
    ...over,
  });
  const { name, namespace, connection_id, schema } = body;
  const made = await instanceOf(id).create({
    identity: { id, name, namespace, connection_id, schema, region: body.region, created_at: Date.now() },
    spec: specOf(body),
    mutation: mutation(),
    mayCreateNamespace: true,
  });
  if (!made.ok) throw new Error(made.refusal.detail);
  return id;
}

async function act(id: string, action: InstanceAction, input: ActInput = {}): Promise<void> {
  const reply = await instanceOf(id).act(action, input, mutation(), []);
  if (!reply.ok) throw new Error(reply.refusal.detail);
}
async function view(id: string): Promise<InstanceView> {
  const reply = await instanceOf(id).read([]);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value.body);
}
async function until<T>(
  look: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  what: string,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const found = await look();
    if (found) return found as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`not within 15 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
const reach = (id: string, status: string) =>
  until(async () => {
    const present = await view(id);
    return present.status === status && present;
  }, status);
async function events(id: string): Promise<JournalEvent[]> {
  const reply = await instanceOf(id).events([], null, 1000);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  const all = reply.value.map((text) => JSON.parse(text) as JournalEvent).reverse();
  expect(all.map(({ seq }) => seq)).toEqual(all.map((_, i) => i + 1));
  return all;
}
const moves = async (id: string) =>
  (await events(id)).filter(({ reason }) => reason === "state_transition").map(({ new_status }) => new_status);
const engines = (id: string) =>
  [...agent.workloads.values()].filter(({ workload }) => /-[23]$/.test(workload.id) && workload.owner === id);
const workload = (id: string, slot: number) => agent.workloads.get(`${id}-${slot}`)?.workload;
const waitFor = (id: string, slot: number) => until(() => workload(id, slot) ?? null, `workload ${slot}`);

describe("an instance on a host", () => {
  test("is provisioned step by step, and its programs are given what they need and nothing else", async () => {
    says = WELL;
    const id = await make({ config: "version: 1\n" });
    await act(id, "provision");
    const there = await reach(id, "running");
    expect(await moves(id)).toEqual(["testing_connection", "queued", "building", "deploying", "running"]);
    expect(there).toMatchObject({
      endpoint_url: "http://127.0.0.1:20000",
      health: "ok",
      host_id: agent.id,
      latest_build: { status: "succeeded", deployable: true },
      last_operation: { action: "provision", outcome: "succeeded" },
    });
    const engine = await waitFor(id, 2);
    expect(engine.spec.environment[REPORT_ENV.password]).toBe("pw");
    expect(engine.spec.environment[REPORT_ENV.token]).toMatch(/^lampw_/);
    expect(engine.spec.files).toEqual([{ destination: "engine.mjs", content: "x" }]);
    expect(engine.spec.memory_limit_bytes).toBe(512 * 1024 ** 2);
    // The password is with the host's books, sealed; what is logged or listed has neither.
    const kept = await runInDurableObject(env.HOST.getByName(agent.id), (_host, { storage }) =>
      JSON.stringify(storage.sql.exec("SELECT spec FROM workload WHERE owner = ?", id).toArray()),
    );
    expect(kept).not.toContain('"pw"');
    expect(JSON.stringify([there, await events(id)])).not.toMatch(/lampw_|"pw"/);
    await until(() => workload(id, 0) === undefined && workload(id, 1) === undefined, "test and build are gone");
    expect(await queueOf(there.region).tickets()).toEqual([]);
  });

  test("a rebuild goes on beside the engine that serves; the old one goes only when the new one has loaded", async () => {
    says = WELL;
    const id = await make();
    await act(id, "provision");
    await reach(id, "running");
    says = (task) => (task.do === "serve" ? null : WELL(task));
    await act(id, "rebuild");
    await reach(id, "deploying");
    const next = await waitFor(id, 3);
    expect(
      engines(id)
        .map(({ workload: one }) => one.id)
        .sort(),
    ).toEqual([`${id}-2`, `${id}-3`]);
    expect((await view(id)).endpoint_url).not.toBeNull();
    await report(next, { kind: "loaded", rows: 9, tables: 3 });
    await reach(id, "running");
    await until(() => engines(id).length === 1 && engines(id)[0]?.workload.id === `${id}-3`, "the old one is gone");
  });

  test("a failed rebuild leaves it serving, and redeploy goes back to an earlier build by its id", async () => {
    says = WELL;
    const id = await make();
    await act(id, "provision");
    const first = (await reach(id, "running")).latest_build as BuildView;
    says = (task) => (task.do === "build" ? FAILED_BUILD : WELL(task));
    await act(id, "rebuild");
    await until(async () => (await view(id)).last_operation?.outcome === "failed", "failed");
    const present = await view(id);
    expect([present.status, present.health, present.last_error?.code]).toEqual(["running", "ok", "config_invalid"]);
    expect(present.last_error?.message).toContain("3:5");
    says = WELL;
    await act(id, "redeploy", { build_id: first.id });
    await until(async () => (await view(id)).last_operation?.action === "redeploy", "redeployed");
    expect((await view(id)).build_id).toBe(first.id);
    const failed = await instanceOf(id).act("redeploy", { build_id: present.latest_build?.id }, mutation(), []);
    expect(failed).toMatchObject({ ok: false, refusal: { more: { action_code: "build_not_deployable" } } });
  });

  test("pause, resume, terminate, delete: what is on the host goes, and is told", async () => {
    says = WELL;
    const id = await make();
    await act(id, "provision");
    await reach(id, "running");
    await act(id, "pause");
    await reach(id, "paused");
    expect(engines(id)).toEqual([]);
    await act(id, "resume");
    await reach(id, "running");
    await act(id, "terminate");
    const over = await reach(id, "terminated");
    expect([over.latest_build?.deployable, over.build_id, over.deployed]).toEqual([false, null, null]);
    await act(id, "delete");
    expect((await instanceOf(id).read([])).ok).toBe(false);
    await until(
      () =>
        runInDurableObject(
          env.INSTANCE.getByName(id),
          (_object, { storage }) => storage.sql.exec("SELECT 1 FROM tombstone").toArray().length > 0,
        ),
      "buried",
    );
  });

  test("late reports, repeated ones, and those of former generations change nothing", async () => {
    const id = await make();
    await act(id, "provision");
    const tester = await waitFor(id, 0);
    const good: ReportBody = { kind: "tested", test: GOOD_TEST };
    expect((await report(tester, good)).ok).toBe(true);
    const builder = await waitFor(id, 1);
    expect(await report(tester, good)).toMatchObject({ ok: false, refusal: { code: "stale_report" } });
    const forged = { ...builder, generation: builder.generation + 1 };
    expect(await report(forged, built())).toMatchObject({ ok: false, refusal: { code: "stale_report" } });
    await report(builder, built());
    const engine = await waitFor(id, 2);
    const before = (await view(id)).revision;
    expect(await report(builder, built())).toMatchObject({ ok: false });
    expect((await view(id)).revision).toBe(before);
    await act(id, "resize", { size: "small" });
    const bigger = await until(
      () => (workload(id, 2)?.generation ?? 0) > engine.generation && workload(id, 2),
      "another engine",
    );
    expect(await report(engine, { kind: "loaded", rows: 1, tables: 1 })).toMatchObject({ ok: false });
    expect(bigger.spec.memory_limit_bytes).toBe(1024 ** 3);
    await report(bigger, { kind: "loaded", rows: 1, tables: 1 });
    expect((await view(id)).status).toBe("running");
  });

  test("vitals are answered with orders, and make no revision; a change of replication does", async () => {
    says = WELL;
    const id = await make();
    await act(id, "provision");
    await reach(id, "running");
    await reporting;
    const engine = await waitFor(id, 2);
    const vitals = (replication: "live" | "reconnecting"): ReportBody => ({
      kind: "vitals",
      vitals: {
        replication,
        snapshot_age_ms: 3,
        swap_count: 1,
        row_counts: { a: 1 },
        memory_bytes: null,
        source_position: null,
        last_query_at: null,
      },
    });
    await report(engine, vitals("live"));
    const { revision } = await view(id);
    const answer = await report(engine, vitals("live"));
    expect(answer).toMatchObject({ ok: true });
    const after = await view(id);
    expect([after.revision, after.vitals?.row_counts]).toEqual([revision, { a: 1 }]);
    await act(id, "pause-replication");
    const paused = await report(engine, vitals("reconnecting"));
    expect(paused.ok && JSON.parse(paused.value)).toEqual({
      accepted: true,
      orders: { replication: "paused", reload: 0 },
    });
    expect(await view(id)).toMatchObject({ replication_paused: true, health: "degraded" });
    expect((await events(id)).at(-1)?.reason).toBe("replication_degraded");
  });
});

describe("interrupted anywhere", () => {
  /** Every object that takes part is forgotten after each step, as by a restart; what was committed is all that is left. */
  async function evictAll(id: string): Promise<void> {
    const { region, connection_id } = await view(id);
    for (const object of [
      env.INSTANCE.getByName(id),
      env.BUILD_QUEUE.getByName(region),
      env.CONNECTION.getByName(connection_id),
    ])
      await evictDurableObject(object).catch(() => undefined);
  }
  /** Letters whose object was forgotten are sent by its alarm. */
  async function ring(id: string): Promise<void> {
    const { region } = await view(id);
    await runInDurableObject(env.INSTANCE.getByName(id), (object) => (object as unknown as InstanceObject).poke());
    await runDurableObjectAlarm(env.BUILD_QUEUE.getByName(region)).catch(() => undefined);
  }

  test("with an eviction between any two steps the whole life is lived all the same", async () => {
    const id = await make();
    const steps: [string, () => Promise<unknown>, string][] = [
      ["provision", () => act(id, "provision"), "testing_connection"],
      ["test", async () => report(await waitFor(id, 0), { kind: "tested", test: GOOD_TEST }), "building"],
      ["build", async () => report(await waitFor(id, 1), built()), "deploying"],
      ["goal", () => act(id, "pause"), "deploying"],
      ["load", async () => report(await waitFor(id, 2), { kind: "loaded", rows: 1, tables: 1 }), "paused"],
      ["resume", () => act(id, "resume"), "resuming"],
      ["load again", async () => report(await waitFor(id, 2), { kind: "loaded", rows: 1, tables: 1 }), "running"],
      ["rebuild", () => act(id, "rebuild"), "testing_connection"],
      [
        "bad test",
        async () => report(await waitFor(id, 0), { kind: "tested", test: { ...GOOD_TEST, ok: false } }),
        "running",
      ],
      ["terminate", () => act(id, "terminate"), "terminated"],
    ];
    for (const [name, step, status] of steps) {
      await step();
      await evictAll(id);
      await until(async () => {
        await ring(id);
        return (await view(id)).status === status;
      }, `${name} → ${status}`);
      await evictAll(id);
    }
    expect(engines(id)).toEqual([]);
    expect((await events(id)).filter(({ reason }) => reason === "goal_reached")).toHaveLength(1);
  });

  test("a letter that was lost after its commit is sent by the alarm", async () => {
    const id = await make();
    await runInDurableObject(env.INSTANCE.getByName(id), (_object, { storage }) => {
      storage.sql.exec(
        "CREATE TRIGGER lose AFTER INSERT ON outbox WHEN new.key = 'place' BEGIN UPDATE outbox SET attempts = 1 WHERE key = 'place'; END",
      );
    });
    await act(id, "provision");
    await runInDurableObject(
      env.INSTANCE.getByName(id),
      (_object, { storage }) => void storage.sql.exec("DROP TRIGGER lose"),
    );
    await until(() => workload(id, 0) !== undefined, "placed by the safety net");
    await act(id, "terminate").catch(() => undefined);
  });

  test("a program that dies without a word ends its step, with how it ended", async () => {
    const id = await make();
    await act(id, "provision");
    await report(await waitFor(id, 0), { kind: "tested", test: GOOD_TEST });
    const builder = await waitFor(id, 1);
    await agent.exit(builder.id, 3);
    await until(
      () =>
        runInDurableObject(
          env.INSTANCE.getByName(id),
          (_object, { storage }) =>
            storage.sql.exec("SELECT 1 FROM instance WHERE state -> 'job' ->> 'phase' = 'ended'").toArray().length > 0,
        ),
      "ended",
    );
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 16_000 });
    await runInDurableObject(env.INSTANCE.getByName(id), (object) => (object as unknown as InstanceObject).poke());
    const present = await view(id);
    expect([present.status, present.last_error?.code]).toEqual(["failed", "builder_died"]);
    expect(present.last_error?.message).toContain("exit code 3");
    expect(present.latest_build?.status).toBe("failed");
  });
});

describe("the build queue", () => {
  const ticket = (namespace: string, n: number) => ({
    build_id: `bld_${namespace}${n}`,
    instance_id: newId("instance", n),
    namespace,
  });
  const admitted = async (region: string) =>
    (await queueOf(region).tickets()).filter((one) => one.admitted).map(({ build_id }) => build_id.slice(4));

  test("is fair between namespaces, in order within one, and a place that is given up is the next one's", async () => {
    const region = fresh();
    const queue = queueOf(region);
    for (const one of [ticket("a", 1), ticket("a", 2), ticket("a", 3), ticket("b", 1), ticket("a", 4)])
      await queue.enqueue(one);
    await queue.enqueue(ticket("a", 3));
    expect(await admitted(region)).toEqual(["a1", "a2"]);
    await queue.release("bld_a1");
    expect(await admitted(region)).toEqual(["a2", "b1"]);
    await queue.release("bld_a3");
    await evictDurableObject(env.BUILD_QUEUE.getByName(region));
    await queue.release("bld_a2");
    expect(await admitted(region)).toEqual(["b1", "a4"]);
    await queue.release("bld_never");
    expect((await queue.tickets()).length).toBe(2);
  });

  test("a build that waits is given up by its instance when its time is over, and its place with it", async () => {
    const region = fresh();
    const others = [ticket("x", 1), ticket("y", 1)];
    for (const one of others) await queueOf(region).enqueue(one);
    const id = await make({ region });
    await act(id, "provision");
    await report(await waitFor(id, 0), { kind: "tested", test: GOOD_TEST });
    await reach(id, "queued");
    await until(async () => (await queueOf(region).tickets()).length === 3, "in the queue");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1_800_001 });
    await runInDurableObject(env.INSTANCE.getByName(id), (object) => (object as unknown as InstanceObject).poke());
    expect(await view(id)).toMatchObject({ status: "failed", last_error: { code: "queue_timeout", retryable: false } });
    await until(async () => (await queueOf(region).tickets()).length === 2, "out of the queue");
  });
});

describe("a connection", () => {
  test("is tested from a host, and what was found is kept with what mends it", async () => {
    const finding = { code: "repl_grant_missing", severity: "error" as const, message: "no", fix: "GRANT …" };
    says = () => ({ kind: "tested", test: { ...GOOD_TEST, findings: [finding] } });
    const id = await connection();
    const reply = await remote<ConnectionObject>(env.CONNECTION, id).testSource(mutation(), [], 10_000);
    if (!reply.ok) throw new Error(reply.refusal.detail);
    const tested = JSON.parse(reply.value.body) as ConnectionView;
    expect(tested).toMatchObject({ status: "ok", last_test: { ok: true, host_id: agent.id, findings: [finding] } });
    await until(() => workload(id, 0) === undefined, "the test is gone from the host");
  });

  test("a test whose program dies is over soon, and says so", async () => {
    const id = await connection();
    const asked = remote<ConnectionObject>(env.CONNECTION, id).testSource(mutation(), [], 15_000);
    await waitFor(id, 0);
    await agent.exit(`${id}-0`, 1);
    const reply = await asked;
    if (!reply.ok) throw new Error(reply.refusal.detail);
    expect((JSON.parse(reply.value.body) as ConnectionView).status).toBe("failing");
  });
});
