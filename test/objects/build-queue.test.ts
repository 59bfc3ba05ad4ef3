import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test, vi } from "vitest";
import { ConnectionTrial, type ConnectionView, trialSpec } from "../../contract/connection.ts";
import { newId } from "../../contract/id.ts";
import type { ConnectionObject } from "../../objects/connection/object.ts";
import type { InstanceObject } from "../../objects/instance/object.ts";
import { remote } from "../../objects/remote.ts";
import { GOOD_TEST } from "../decide/driven-instance.ts";

import {
  act,
  agent,
  connection,
  fresh,
  make,
  mutation,
  programsSay,
  queueOf,
  reach,
  report,
  until,
  view,
  waitFor,
  withEngines,
  workload,
} from "./instance-world.ts";

withEngines();

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
    // Nobody made their instances: should the queue's alarm ring after the clock is moved, it is not yet time to ask after them.
    await runInDurableObject(env.BUILD_QUEUE.getByName(region), (_, { storage }) => {
      storage.sql.exec("UPDATE ticket SET check_at = check_at + 3600000");
    });
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

  test("a build that is cancelled gives its place to the next, and cannot be cancelled twice", async () => {
    const region = fresh();
    for (const one of [ticket("x", 1), ticket("y", 1)]) await queueOf(region).enqueue(one);
    const id = await make({ region });
    await act(id, "provision");
    await report(await waitFor(id, 0), { kind: "tested", test: GOOD_TEST });
    await reach(id, "queued");
    await until(async () => (await queueOf(region).tickets()).length === 3, "in the queue");
    const build = (await view(id)).operation?.build_id as string;
    const cancel = (which: string) => remote<InstanceObject>(env.INSTANCE, id).cancelBuild(which, mutation(), []);
    expect(await cancel("bld_01k9j5w0n3x7m2c4v8b6z1q5rt")).toMatchObject({ refusal: { code: "not_found" } });
    expect(await cancel(build)).toMatchObject({ ok: true });
    expect(await view(id)).toMatchObject({ status: "failed", last_error: { code: "build_cancelled" } });
    await until(async () => (await queueOf(region).tickets()).length === 2, "out of the queue");
    expect(await cancel(build)).toMatchObject({
      refusal: { code: "action_not_allowed", more: { action_code: "build_ended" } },
    });
  });
});

describe("a connection", () => {
  test("is tested from a host, and what was found is kept with what mends it", async () => {
    const finding = { code: "repl_grant_missing", severity: "error" as const, message: "no", fix: "GRANT …" };
    programsSay(() => ({ kind: "tested", test: { ...GOOD_TEST, findings: [finding] } }));
    const id = await connection();
    const reply = await remote<ConnectionObject>(env.CONNECTION, id).testSource(mutation(), [], 10_000);
    if (!reply.ok) throw new Error(reply.refusal.detail);
    const tested = JSON.parse(reply.value.body) as ConnectionView;
    expect(tested).toMatchObject({ status: "ok", last_test: { ok: true, host_id: agent.id, findings: [finding] } });
    await until(() => workload(id, 0) === undefined, "the test is gone from the host");
  });

  test("one that nobody saved is tested the same, and nothing of it stays", async () => {
    const finding = { code: "repl_grant_missing", severity: "error" as const, message: "no", fix: "GRANT …" };
    programsSay(() => ({ kind: "tested", test: { ...GOOD_TEST, findings: [finding] } }));
    const id = newId("connection", Date.now());
    const object = remote<ConnectionObject>(env.CONNECTION, id);
    const spec = trialSpec(ConnectionTrial.parse({ host: "db", user: "u", password: "s3cret", schemas: ["shop"] }));
    const unsaved = { id, namespace: "default", spec, password: "s3cret", mutation: mutation() };
    expect(await object.testUnsaved(unsaved, 10_000)).toMatchObject({
      ok: true,
      value: { ok: true, host_id: agent.id, findings: [finding] },
    });
    expect(await object.read([]), "nobody sees it").toMatchObject({ ok: false, refusal: { code: "not_found" } });
    const stored = () =>
      runInDurableObject(env.CONNECTION.getByName(id), (_object, { storage: { sql } }) => {
        const tables = sql
          .exec<{ name: string }>(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
          )
          .toArray();
        return JSON.stringify(tables.map(({ name }) => sql.exec(`SELECT * FROM "${name}"`).toArray()));
      });
    expect(await stored(), "its password went with the test").not.toMatch(/lampseal|s3cret/);
    await until(() => workload(id, 0) === undefined, "the test is gone from the host");
    await until(async () => !(await stored()).includes("withdraw"), "its letters are delivered");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 11_000 });
    await runInDurableObject(env.CONNECTION.getByName(id), (one) => (one as unknown as ConnectionObject).poke());
    expect(await stored()).toBe("[]");
  });

  test("one that nobody saved and no host can test is answered in time, and its password is gone then too", async () => {
    const id = newId("connection", Date.now());
    const spec = trialSpec(ConnectionTrial.parse({ host: "db", user: "u", password: "s3cret" }));
    const unsaved = { id, namespace: "default", spec, password: "s3cret", mutation: mutation() };
    const tested = await remote<ConnectionObject>(env.CONNECTION, id).testUnsaved(unsaved, 1_000);
    expect(tested).toMatchObject({ ok: true, value: { ok: false, error: { code: "connect_timeout" } } });
    const password = await runInDurableObject(env.CONNECTION.getByName(id), (_object, { storage: { sql } }) =>
      sql.exec("SELECT password FROM connection").toArray(),
    );
    expect(password).toEqual([{ password: "" }]);
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
