import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test, vi } from "vitest";
import type { BuildView } from "../../contract/build.ts";
import { REPORT_ENV, type ReportBody } from "../../contract/instance-report.ts";
import type { Reply } from "../../contract/problem.ts";
import type { InstanceObject } from "../../objects/instance/object.ts";
import { built, FAILED_BUILD, GOOD_TEST, POSTGRES_TEST } from "../decide/driven-instance.ts";

import {
  act,
  agent,
  engines,
  events,
  instanceOf,
  make,
  moves,
  mutation,
  programsSay,
  queueOf,
  reach,
  report,
  reported,
  until,
  view,
  WELL,
  waitFor,
  withEngines,
  workload,
} from "./instance-world.ts";

withEngines();

/** The artifact as a host gets it; null when it is not kept. */
async function artifactOf(id: string, hash: string): Promise<string | null> {
  const reply = (await instanceOf(id).artifact(hash)) as Reply<ReadableStream<Uint8Array>>;
  return reply.ok ? new Response(reply.value).text() : null;
}

describe("an instance on a host", () => {
  test("is provisioned step by step, and its programs are given what they need and nothing else", async () => {
    programsSay(WELL);
    const id = await make({ config: "version: 1\n" });
    await act(id, "provision");
    const there = await reach(id, "running");
    expect(await moves(id)).toEqual(["testing_connection", "queued", "building", "deploying", "running"]);
    expect(there).toMatchObject({
      endpoint_url: `http://127.0.0.1:20000/${id}`,
      health: "ok",
      host_id: agent.id,
      latest_build: { status: "succeeded", deployable: true },
      last_operation: { action: "provision", outcome: "succeeded" },
    });
    const engine = await waitFor(id, 2);
    expect(engine.spec.environment[REPORT_ENV.password]).toBe("pw");
    expect(engine.spec.environment[REPORT_ENV.token]).toMatch(/^lampw_/);
    expect(JSON.parse(engine.spec.environment[REPORT_ENV.task] as string)).toMatchObject({ artifact: { kept: false } });
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
    programsSay(WELL);
    const id = await make();
    await act(id, "provision");
    await reach(id, "running");
    programsSay((task) => (task.do === "serve" ? null : WELL(task)));
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
    programsSay(WELL);
    const id = await make();
    await act(id, "provision");
    const first = (await reach(id, "running")).latest_build as BuildView;
    programsSay((task) => (task.do === "build" ? FAILED_BUILD : WELL(task)));
    await act(id, "rebuild");
    await until(async () => (await view(id)).last_operation?.outcome === "failed", "failed");
    const present = await view(id);
    expect([present.status, present.health, present.last_error?.code]).toEqual(["running", "ok", "config_invalid"]);
    expect(present.last_error?.message).toContain("3:5");
    programsSay(WELL);
    await act(id, "redeploy", { build_id: first.id });
    await until(async () => (await view(id)).last_operation?.action === "redeploy", "redeployed");
    expect((await view(id)).build_id).toBe(first.id);
    const failed = await instanceOf(id).act("redeploy", { build_id: present.latest_build?.id }, mutation(), []);
    expect(failed).toMatchObject({ ok: false, refusal: { more: { action_code: "build_not_deployable" } } });
  });

  test("pause, resume, terminate, delete: what is on the host goes, and is told", async () => {
    programsSay(WELL);
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

  test("deleted right after it was stopped, what its host still has of it goes all the same", async () => {
    programsSay(WELL);
    const id = await make();
    await act(id, "provision");
    await reach(id, "running");
    const engine = await waitFor(id, 2);
    await agent.exit(engine.id, 0);
    await reach(id, "stopped");
    await act(id, "delete");
    await until(() => engines(id).length === 0, "gone from the host");
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

  test("an artifact whose parts were all sent is kept: another host gets it, and builds of the same input share it", async () => {
    const id = await make();
    await act(id, "provision");
    await report(await waitFor(id, 0), { kind: "tested", test: GOOD_TEST });
    const builder = await waitFor(id, 1);
    const hash = "a".repeat(64);
    await report(builder, { kind: "artifact", hash, part: 1, parts: 2, text: "world" });
    expect((await instanceOf(id).artifact(hash)).ok).toBe(false);
    await report(builder, { kind: "artifact", hash, part: 0, parts: 2, text: "hello " });
    await report(builder, { kind: "artifact", hash, part: 0, parts: 2, text: "hello " });
    await report(builder, built());
    const engine = await waitFor(id, 2);
    expect(JSON.parse(engine.spec.environment[REPORT_ENV.task] as string)).toMatchObject({
      artifact: { hash, kept: true },
    });
    expect(await artifactOf(id, hash)).toBe("hello world");
    await report(engine, { kind: "loaded", rows: 1, tables: 1 });
    await act(id, "terminate");
    await reach(id, "terminated");
    expect((await instanceOf(id).artifact(hash)).ok).toBe(false);
  });

  test("an artifact larger than one answer of an object may be comes whole", async () => {
    const id = await make();
    await act(id, "provision");
    await report(await waitFor(id, 0), { kind: "tested", test: GOOD_TEST });
    const builder = await waitFor(id, 1);
    const hash = "b".repeat(64);
    const parts = 90;
    for (let part = 0; part < parts; part++)
      await report(builder, { kind: "artifact", hash, part, parts, text: String(part % 10).repeat(400_000) });
    const text = await artifactOf(id, hash);
    expect([text?.length, text?.at(0), text?.at(-1)]).toEqual([parts * 400_000, "0", "9"]);
  });

  test("the last word of an engine that goes is heard, and spares looking at the source", async () => {
    const id = await make();
    const asked: string[] = [];
    programsSay((task) => {
      asked.push(task.do);
      return task.do === "test" ? { kind: "tested", test: POSTGRES_TEST } : WELL(task);
    });
    await act(id, "provision");
    await reach(id, "running");
    const engine = await waitFor(id, 2);
    agent.disconnect();
    await act(id, "pause");
    expect(await report(engine, { kind: "loaded", rows: 1, tables: 1 })).toMatchObject({ ok: false });
    const word: ReportBody = { kind: "released", left: [] };
    expect(await report(engine, word)).toMatchObject({ ok: true });
    expect(await report({ ...engine, generation: engine.generation + 1 }, word)).toMatchObject({ ok: false });
    await agent.connect();
    await reach(id, "paused");
    expect(asked).toEqual(["test", "build", "serve"]);
  });

  test("vitals are answered with orders, and make no revision; a change of replication does", async () => {
    programsSay(WELL);
    const id = await make();
    await act(id, "provision");
    await reach(id, "running");
    await reported();
    const engine = await waitFor(id, 2);
    const vitals = (replication: "live" | "reconnecting" | "paused"): ReportBody => ({
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
    const key = { name: "k", tables: ["a", "as"], rows: { books: "c = 1" } };
    expect(await instanceOf(id).createKey(key, mutation(), [])).toMatchObject({
      refusal: {
        code: "validation_failed",
        detail:
          "tables[1]: the engine has no table 'as'; did you mean 'a'?\nrows.books: the engine has no table 'books'",
      },
    });
    // It is answered when the engine has said that it is so.
    let isAnswered = false;
    const acted = act(id, "pause-replication").then(() => {
      isAnswered = true;
    });
    const paused = await report(engine, vitals("reconnecting"));
    expect(paused.ok && JSON.parse(paused.value)).toEqual({
      accepted: true,
      orders: { replication: "paused", reload: 0, keys: [] },
    });
    expect(await view(id)).toMatchObject({ replication_paused: true, health: "degraded" });
    expect((await events(id)).at(-1)?.reason).toBe("replication_degraded");
    expect(isAnswered).toBe(false);
    await report(engine, vitals("paused"));
    await acted;
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
