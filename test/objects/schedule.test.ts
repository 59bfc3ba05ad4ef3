import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { DeploymentView } from "../../contract/deployment.ts";
import type { JournalEvent } from "../../contract/event.ts";
import type { Mutation } from "../../contract/request.ts";
import { type RunView, runName, type ScheduleView } from "../../contract/schedule.ts";
import { checkSchedule } from "../../contract/schedule-check.ts";
import type { DeploymentObject } from "../../objects/deployment/object.ts";
import type { IndexObject } from "../../objects/index/object.ts";
import type { NamespaceObject } from "../../objects/namespace/object.ts";
import { shardOf } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import type { ScheduleObject } from "../../objects/schedule/object.ts";
import { running, SimulatedAgent } from "./simulated-agent.ts";

const SPACE = "schedules";
const mutation = (over: Partial<Mutation> = {}): Mutation => ({
  actor: "tok_test",
  request_id: "req_test",
  if_match: null,
  idempotency: null,
  ...over,
});
const name = () => `s-${crypto.randomUUID()}`.slice(0, 20);

function body(over: Record<string, unknown> = {}) {
  const checked = checkSchedule({
    name: name(),
    namespace: SPACE,
    cron: "0 * * * *",
    job: { runtime: "podman", image: "x", placement: { labels: { nobody: "has-this" } } },
    ...over,
  });
  if (!checked.ok) throw new Error(JSON.stringify(checked.violations));
  return checked.schedule;
}
const space = () => remote<NamespaceObject>(env.NAMESPACE, SPACE);
async function apply(over: Record<string, unknown> = {}, by: Partial<Mutation> = {}) {
  const reply = await space().applySchedule({ ...body(over), mutation: mutation(by) });
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return { status: reply.value.status, view: JSON.parse(reply.value.body) as ScheduleView };
}
const stub = (id: string) => env.SCHEDULE.getByName(id);
const schedule = (id: string) => remote<ScheduleObject>(env.SCHEDULE, id);
const deployment = (id: string) => remote<DeploymentObject>(env.DEPLOYMENT, id);
async function runs(id: string): Promise<RunView[]> {
  const reply = await schedule(id).runs([]);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value);
}
async function view(id: string): Promise<ScheduleView | null> {
  const reply = await schedule(id).read([]);
  return reply.ok ? JSON.parse(reply.value.body) : null;
}
async function reasons(id: string): Promise<string[]> {
  const reply = await schedule(id).events([], null, 1000);
  if (!reply.ok) throw new Error(reply.refusal.detail);
  const events = reply.value.map((text) => JSON.parse(text) as JournalEvent).reverse();
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  return events.map(({ reason }) => reason).filter((reason) => reason !== "state_transition");
}
async function deploymentsOf(schedule: string): Promise<DeploymentView[]> {
  const index = remote<IndexObject>(env.INDEX, shardOf(SPACE));
  const listed = await index.list({
    kind: "deployment",
    namespaces: [SPACE],
    names: [],
    statuses: [],
    types: [],
    labels: [["lamplighter.schedule", schedule]],
    before: null,
    limit: 100,
  });
  return listed.bodies.map((text) => JSON.parse(text) as DeploymentView);
}
async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within 15 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
const alarmOf = (id: string) => runInDurableObject(stub(id), (_object, state) => state.storage.getAlarm());

/** The clock stands far from now, so that alarms ring when the test says so. */
describe("a schedule on a clock that stands", () => {
  const START = Date.UTC(2100, 0, 1, 0, 30);
  const HOUR = 3_600_000;
  const FIRST = START + HOUR / 2;
  const clock = (now: number) => vi.useFakeTimers({ toFake: ["Date"], now });
  beforeEach(() => void clock(START));
  afterEach(() => void vi.useRealTimers());
  const ring = async (id: string, now: number) => {
    clock(now);
    await runDurableObjectAlarm(stub(id));
  };
  const started = (id: string, n = 1) =>
    until(async () => (await runs(id)).filter(({ deployment_id }) => deployment_id !== null).length === n, "started");

  test("is made once, is left as it is by the same body, and is changed by another", async () => {
    const own = name();
    const key = { idempotency: { key: crypto.randomUUID(), fingerprint: "f" } };
    const made = await apply({ name: own }, key);
    expect([made.status, made.view.status, made.view.next_at]).toEqual([201, "waiting", "2100-01-01T01:00:00.000Z"]);
    expect(await apply({ name: own }, key)).toEqual(made);
    const same = await apply({ name: own });
    expect([same.status, same.view]).toEqual([200, made.view]);
    await evictDurableObject(env.NAMESPACE.getByName(SPACE));
    const other = await apply({ name: own, cron: "15 * * * *" });
    expect([other.status, other.view.id, other.view.next_at]).toEqual([200, made.view.id, "2100-01-01T01:15:00.000Z"]);
    expect(await space().wouldApplySchedule(body({ name: own, cron: "15 * * * *" }))).toMatchObject({
      action: "unchanged",
    });
    const late = await space().applySchedule({ ...body({ name: own }), mutation: mutation({ if_match: 1 }) });
    expect(late).toMatchObject({ ok: false, refusal: { code: "precondition_failed" } });
  });

  test("fires a time once: with an alarm that rings twice, over an eviction, and on a clock that was set back", async () => {
    const { view: made } = await apply({ concurrency_policy: "allow" });
    await ring(made.id, FIRST - 1);
    expect(await runs(made.id)).toEqual([]);
    await ring(made.id, FIRST + 3);
    await started(made.id);
    await runDurableObjectAlarm(stub(made.id));
    await evictDurableObject(stub(made.id));
    clock(FIRST - 5);
    await schedule(made.id).poke();
    await schedule(made.id).poke();
    const all = await runs(made.id);
    expect(all).toMatchObject([{ name: `${made.name}-21000101010000`, scheduled_at: "2100-01-01T01:00:00.000Z" }]);
    await until(async () => (await deploymentsOf(made.name)).length > 0, "listed");
    expect(await deploymentsOf(made.name)).toMatchObject([
      { kind: "job", labels: { "lamplighter.schedule": made.name } },
    ]);
  });

  test("a run whose start was asked for, and then all was forgotten, is the same run when it is asked for again", async () => {
    const { view: made } = await apply();
    const run = { at: FIRST, manual: false };
    const spec = body().spec;
    // What the first attempt did before the power went.
    const first = await space().apply({
      manifest: { ...spec.job, name: runName(made.name, run) },
      mutation: mutation({ idempotency: { key: `${made.id}:${FIRST}`, fingerprint: "run" } }),
      dryRun: false,
      owner_schedule: made.id,
    });
    if (!first.ok) throw new Error("refused");
    await ring(made.id, FIRST);
    await started(made.id);
    expect((await runs(made.id))[0]?.deployment_id).toBe(JSON.parse(first.value.body).id);
  });

  test("never takes the name of a deployment that is not its own", async () => {
    const { view: made } = await apply();
    const { job } = body().spec;
    const taken = { ...job, name: runName(made.name, { at: FIRST, manual: false }) };
    const other = await space().apply({ manifest: taken, mutation: mutation(), dryRun: false });
    if (!other.ok) throw new Error("refused");
    await ring(made.id, FIRST);
    await until(async () => (await runs(made.id))[0]?.status === "failed", "refused");
    const standing = await deployment(JSON.parse(other.value.body).id).standing();
    expect(standing.status).toBe("pending");
  });

  test("after a day of being off it starts the latest, within its deadline only, and tells once what was missed", async () => {
    const { view: made } = await apply({ starting_deadline: "10m" });
    await ring(made.id, FIRST + 24 * HOUR + 60_000);
    await started(made.id);
    expect(await reasons(made.id)).toEqual(["schedule_created", "runs_missed", "run_started"]);
    await schedule(made.id).runStands((await runs(made.id))[0]?.deployment_id as string, {
      status: "completed",
      message: "",
    });
    await ring(made.id, FIRST + 48 * HOUR + 11 * 60_000);
    expect((await runs(made.id)).map(({ status }) => status)).toEqual(["completed"]);
    expect((await reasons(made.id)).slice(3)).toEqual(["run_completed", "runs_missed"]);
  });

  test("forbid asks whether the run is really under way: news of its end that was lost costs no time", async () => {
    const { view: made } = await apply();
    await ring(made.id, FIRST);
    await started(made.id);
    await ring(made.id, FIRST + HOUR);
    expect((await reasons(made.id)).at(-1)).toBe("run_skipped");
    // It is gone, and nobody told.
    const id = (await runs(made.id))[0]?.deployment_id as string;
    await runInDurableObject(env.DEPLOYMENT.getByName(id), (_object, state) => {
      state.storage.sql.exec("DELETE FROM deployment");
      state.storage.sql.exec("INSERT INTO tombstone VALUES (1, 1)");
    });
    await ring(made.id, FIRST + 2 * HOUR);
    await until(async () => (await runs(made.id))[0]?.name.endsWith("030000") ?? false, "the next one");
    await started(made.id);
  });

  test("replace ends the run before, and starts when it is gone", async () => {
    const { view: made } = await apply({ concurrency_policy: "replace" });
    await ring(made.id, FIRST);
    await started(made.id);
    const [before] = await runs(made.id);
    await ring(made.id, FIRST + HOUR);
    await until(async () => {
      const [now] = await runs(made.id);
      return now?.deployment_id !== null && now?.deployment_id !== before?.deployment_id;
    }, "replaced");
    expect((await deployment(before?.deployment_id as string).standing()).status).toBe("gone");
    expect(await runs(made.id)).toHaveLength(1);
  });

  test("suspended it has no alarm; trigger runs it all the same; resume goes on with the next time", async () => {
    const { view: made } = await apply({ suspend: true });
    await until(async () => (await alarmOf(made.id)) === null || (await runDurableObjectAlarm(stub(made.id))), "rests");
    expect([made.status, await alarmOf(made.id)]).toEqual(["suspended", null]);
    // The same file again, which says nothing of it, leaves it suspended.
    expect((await apply({ name: made.name })).view.status).toBe("suspended");
    expect((await schedule(made.id).act("trigger", mutation(), [])).ok).toBe(true);
    await started(made.id);
    expect(await schedule(made.id).act("trigger", mutation(), [])).toMatchObject({
      ok: false,
      refusal: { code: "action_not_allowed" },
    });
    clock(START + 5 * HOUR);
    await schedule(made.id).act("resume", mutation(), []);
    expect(await view(made.id)).toMatchObject({ status: "running", next_at: "2100-01-01T06:00:00.000Z" });
    expect(await reasons(made.id)).not.toContain("runs_missed");
  });

  test("deletion takes its runs with it, answers a repeated request the same, and frees the name", async () => {
    const { view: made } = await apply({ concurrency_policy: "allow" });
    await ring(made.id, FIRST);
    await started(made.id);
    const id = (await runs(made.id))[0]?.deployment_id as string;
    const by = mutation({ idempotency: { key: crypto.randomUUID(), fingerprint: "d" } });
    const answer = await schedule(made.id).delete(by, []);
    expect(answer.ok && answer.value.status).toBe(204);
    await until(async () => (await view(made.id)) === null, "purged");
    await until(async () => (await deployment(id).standing()).status === "gone", "its run is gone");
    expect(await schedule(made.id).delete(by, [])).toEqual(answer);
    const again = await apply({ name: made.name });
    expect([again.status, again.view.id === made.id]).toEqual([201, false]);
  });

  test("a name is taken over at once from a schedule that is being deleted", async () => {
    const { view: made } = await apply();
    await runInDurableObject(env.NAMESPACE.getByName(SPACE), (_object, state) => {
      // Its release has not come yet.
      expect(
        state.storage.sql.exec("SELECT 1 FROM name_claim WHERE kind = 'schedule' AND name = ?", made.name).toArray(),
      ).toHaveLength(1);
    });
    await schedule(made.id).delete(mutation(), []);
    await runInDurableObject(env.NAMESPACE.getByName(SPACE), (_object, state) => {
      state.storage.sql.exec("INSERT OR REPLACE INTO name_claim VALUES ('schedule', ?, ?)", made.name, made.id);
    });
    const again = await apply({ name: made.name });
    expect([again.status, again.view.id === made.id]).toEqual([201, false]);
  });
});

test("on a host: each second a job, which ends and is told, and the history keeps as many as it should", async () => {
  const label = crypto.randomUUID();
  const agent = await SimulatedAgent.enrol("scheduled", { test: label });
  await agent.connect();
  agent.behaviour = (workload) => {
    setTimeout(() => void agent.exit(workload.id, 0).catch(() => undefined), 20);
    return running(workload);
  };
  const { view: made } = await apply({
    cron: "* * * * * *",
    history: { completed: 2, failed: 1 },
    job: { runtime: "podman", image: "x", placement: { labels: { test: label } } },
  });
  await until(
    async () => (await reasons(made.id)).filter((reason) => reason === "run_completed").length >= 4,
    "four runs",
  );
  await schedule(made.id).act("suspend", mutation(), []);
  await until(async () => (await view(made.id))?.active.length === 0, "the last one ends");
  await until(async () => (await deploymentsOf(made.name)).length === 2, "the older ones are deleted");
  expect((await runs(made.id)).map(({ status }) => status)).toEqual(["completed", "completed"]);
  await until(async () => (await alarmOf(made.id)) === null, "rests");
  agent.disconnect();
});
