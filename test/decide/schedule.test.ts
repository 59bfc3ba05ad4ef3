// The schedule's machine: one table of what comes of what, then random histories.
import assert from "node:assert/strict";
import { describe, expect, test } from "vitest";
import { checkManifest } from "../../contract/manifest-check.ts";
import {
  runName,
  SCHEDULE_NEXT,
  SCHEDULE_STATUSES,
  type ScheduleSpec,
  type ScheduleState,
  ScheduleState as Schema,
} from "../../contract/schedule.ts";
import { decide, initial, isUnderWay, type ScheduleEvent } from "../../objects/schedule/decide.ts";
import { deadlineOf, isGone, runKey, subjects } from "../../objects/schedule/letters.ts";
import { type Look, lookAt } from "../../objects/schedule/times.ts";
import { random } from "../random.ts";

const job = checkManifest({ name: "s", kind: "job", runtime: "process", command: ["true"] });
if (!job.ok) throw new Error("no job");
const spec = (over: Partial<ScheduleSpec> = {}): ScheduleSpec => ({
  cron: "*/10 * * * *",
  time_zone: "UTC",
  concurrency_policy: "forbid",
  starting_deadline: null,
  history: { completed: 3, failed: 1 },
  job: job.manifest,
  ...over,
});
const START = Date.parse("2026-06-01T00:05:00Z");
const MINUTE = 60_000;

/** A schedule that is driven by hand. */
class Driven {
  now = START;
  state: ScheduleState;
  spec: ScheduleSpec;
  reasons: string[] = [];
  messages: string[] = [];
  moves: [string, string][] = [];
  posted: string[] = [];
  constructor(over: Partial<ScheduleSpec> = {}, suspend = false) {
    this.spec = spec(over);
    const look = lookAt(this.spec.cron, "UTC", this.now, this.now);
    this.state = initial({ name: "s", spec: this.spec, now: this.now, look }, suspend).state;
  }
  look(doneUntil: number): Look {
    return lookAt(this.spec.cron, this.spec.time_zone, doneUntil, this.now);
  }
  do(event: ScheduleEvent): this {
    const anew = event.type === "resume" || (event.type === "applied" && (event.retimed || event.suspend === false));
    const look = this.look(anew ? this.now : this.state.done_until);
    const before = this.state;
    const decision = decide(before, event, { name: "s", spec: this.spec, now: this.now, look });
    this.state = decision.state;
    this.reasons = decision.entries.map(({ reason }) => reason).filter((reason) => reason !== "state_transition");
    this.messages = decision.entries.map(({ message }) => message);
    this.moves = decision.entries
      .filter(({ reason }) => reason === "state_transition")
      .map(({ data }) => [data?.old_status, data?.new_status] as [string, string]);
    const known = subjects(before, this.spec);
    this.posted = [...subjects(this.state, this.spec)].filter((subject) => !known.has(subject));
    return this;
  }
  at(now: number, event: ScheduleEvent = { type: "due" }): this {
    this.now = now;
    return this.do(event);
  }
  /** Starts what is due. */
  start(id: string): this {
    const run = this.state.runs.find(({ phase }) => phase === "due");
    if (!run) throw new Error("nothing is due");
    return this.do({ type: "started", at: run.at, manual: run.manual, deployment_id: id });
  }
  told(deployment_id: string, status: "completed" | "failed" | "running" | "deleted" | "gone" | "unknown"): this {
    return this.do({ type: "told", deployment_id, standing: { status, message: status } });
  }
  get phases(): string[] {
    return this.state.runs.map((run) => (run.phase === "finished" ? run.outcome : run.phase));
  }
}
const FIRST = START + 5 * MINUTE;
const next = ({ state }: Driven) => ("next_at" in state ? state.next_at : null);

describe("a schedule", () => {
  test("waits with one timer, fires at its time, and never for that time again", () => {
    const it = new Driven();
    expect([it.state.status, deadlineOf(it.state)]).toEqual(["waiting", FIRST]);
    expect(it.at(FIRST - 1).state.runs).toEqual([]);
    expect(it.at(FIRST).posted).toEqual([`start ${FIRST}`]);
    expect([it.state.status, next(it)]).toEqual(["running", FIRST + 10 * MINUTE]);
    // The alarm rings twice, late, and on a clock that was set back.
    for (const now of [FIRST, FIRST + 5, FIRST - 3 * MINUTE, FIRST + 1]) expect(it.at(now).state.runs).toHaveLength(1);
    it.start("a").told("a", "completed");
    for (const now of [FIRST, FIRST - 86_400_000, FIRST + 9 * MINUTE]) expect(it.at(now).phases).toEqual(["completed"]);
    expect(runName("s", { at: FIRST, manual: false })).toBe("s-20260601001000");
  });

  test("news that comes between a time and its alarm does not lose that time", () => {
    const it = new Driven({ concurrency_policy: "allow" });
    it.at(FIRST).start("a");
    it.at(FIRST + 10 * MINUTE + 3, {
      type: "told",
      deployment_id: "a",
      standing: { status: "completed", message: "" },
    });
    expect(next(it)).toBe(FIRST + 10 * MINUTE);
    expect(it.do({ type: "due" }).posted).toEqual([`start ${FIRST + 10 * MINUTE}`]);
  });

  test("after a day of being off: the latest is started, the others are told in one event", () => {
    const it = new Driven().at(FIRST + 86_400_000 + 3);
    expect(it.state.runs.map(({ at }) => at)).toEqual([FIRST + 86_400_000]);
    expect(it.reasons).toEqual(["runs_missed"]);
    expect(it.messages[0]).toBe(
      "missed more than 100 runs from 2026-06-01T00:10:00.000Z on: they could not be started in time",
    );
    expect(next(it)).toBe(FIRST + 86_400_000 + 10 * MINUTE);
  });

  test("too late for its deadline: nothing is started, and that is told", () => {
    const it = new Driven({ starting_deadline: "30s" });
    expect(it.at(FIRST + 30_000).state.runs).toHaveLength(1);
    const late = new Driven({ starting_deadline: "30s" }).at(FIRST + 30_001);
    expect([late.state.runs, late.reasons]).toEqual([[], ["runs_missed"]]);
    expect(late.messages[0]).toBe("missed the run of 2026-06-01T00:10:00.000Z: it could not be started in time");
    expect(late.at(FIRST + 10 * MINUTE).state.runs).toHaveLength(1);
  });

  test("forbid: a time that comes while a run is under way is skipped, also when its start is not known yet", () => {
    const it = new Driven().at(FIRST);
    expect(it.at(FIRST + 10 * MINUTE).reasons).toEqual(["run_skipped"]);
    expect(it.start("a").at(FIRST + 20 * MINUTE).reasons).toEqual(["run_skipped"]);
    it.told("a", "failed");
    expect(it.at(FIRST + 30 * MINUTE).phases).toEqual(["failed", "due"]);
  });

  test("allow: runs lie above each other", () => {
    const it = new Driven({ concurrency_policy: "allow" })
      .at(FIRST)
      .start("a")
      .at(FIRST + 10 * MINUTE)
      .start("b");
    expect(it.phases).toEqual(["active", "active"]);
  });

  test("replace: the new run waits until the one before is gone", () => {
    const it = new Driven({ concurrency_policy: "replace" })
      .at(FIRST)
      .start("a")
      .at(FIRST + 10 * MINUTE);
    expect([it.phases, it.posted, it.reasons]).toEqual([["stopping", "due"], ["delete a"], ["run_replaced"]]);
    expect(it.told("a", "deleted").posted).toEqual([]);
    expect(it.told("a", "gone").posted).toEqual([`start ${FIRST + 10 * MINUTE}`]);
    expect(it.phases).toEqual(["due"]);
  });

  test("replace: a run that is being started is started, ended, and then replaced; one that nobody asked for is dropped", () => {
    const it = new Driven({ concurrency_policy: "replace" }).at(FIRST);
    it.do({ type: "attempted", at: FIRST, manual: false }).at(FIRST + 10 * MINUTE);
    expect([it.phases, it.posted]).toEqual([["due", "due"], []]);
    it.start("a");
    expect([it.phases, it.posted]).toEqual([["stopping", "due"], ["delete a"]]);
    it.at(FIRST + 20 * MINUTE);
    expect(it.state.runs.map(runKey)).toEqual([`${FIRST}`, `${FIRST + 20 * MINUTE}`]);
  });

  test("history: the newest finished runs are kept, by how they ended; the others are deleted", () => {
    const it = new Driven({ history: { completed: 2, failed: 0 } });
    for (let i = 0; i < 4; i++)
      it.at(FIRST + i * 10 * MINUTE)
        .start(`d${i}`)
        .told(`d${i}`, "completed");
    expect(it.state.discard).toEqual(["d0", "d1"]);
    expect(it.posted).toEqual(["delete d1"]);
    it.at(FIRST + 40 * MINUTE)
      .start("bad")
      .told("bad", "failed");
    expect(it.state.discard).toEqual(["d0", "d1", "bad"]);
    expect(it.do({ type: "discarded", deployment_id: "d0" }).state.discard).toEqual(["d1", "bad"]);
    it.spec = spec({ history: { completed: 1, failed: 0 } });
    expect(it.do({ type: "applied", suspend: null, retimed: false }).posted).toEqual(["delete d2"]);
  });

  test("a run that somebody else deletes is over when it is gone, and says so", () => {
    const it = new Driven().at(FIRST).start("a").told("a", "deleted");
    expect(it.phases).toEqual(["stopping"]);
    expect(it.told("a", "gone").state.status).toBe("waiting");
    const quick = new Driven().at(FIRST).start("a").told("a", "gone");
    expect([quick.phases, quick.reasons]).toEqual([[], ["run_deleted"]]);
  });

  test("a deployment that stays unknown for minutes is given up", () => {
    const it = new Driven().at(FIRST).start("a").told("a", "unknown");
    expect(it.phases).toEqual(["active"]);
    it.now += 6 * MINUTE;
    expect(it.told("a", "unknown").phases).toEqual([]);
  });

  test("a refused run is a failed one without a deployment", () => {
    const it = new Driven().at(FIRST).do({ type: "refused", at: FIRST, manual: false, message: "no" });
    expect([it.phases, it.state.status, it.reasons]).toEqual([["failed"], "waiting", ["run_refused"]]);
  });

  test("suspended it rests: no timer, and what passes meanwhile is neither run nor missed", () => {
    const it = new Driven().do({ type: "suspend" });
    expect([it.state.status, deadlineOf(it.state)]).toEqual(["suspended", null]);
    expect(it.at(FIRST + 60 * MINUTE).state.runs).toEqual([]);
    it.do({ type: "resume" });
    expect([it.state.status, next(it), it.reasons]).toEqual(["waiting", FIRST + 70 * MINUTE, ["schedule_resumed"]]);
    expect(it.at(FIRST + 70 * MINUTE).reasons).toEqual([]);
  });

  test("trigger: at once, also while suspended; two within a second have two names; forbid refuses a second", () => {
    const it = new Driven({ concurrency_policy: "allow" }, true).do({ type: "trigger" }).do({ type: "trigger" });
    expect(it.state.runs.map((run) => runName("s", run))).toEqual(["s-20260601000500m", "s-20260601000501m"]);
    expect(it.state.status).toBe("suspended");
    const strict = new Driven().do({ type: "trigger" }).do({ type: "trigger" });
    expect(strict.state.runs).toHaveLength(1);
  });

  test("another time of day: it goes on from now, and what was under way goes on", () => {
    const it = new Driven().at(FIRST).start("a");
    it.now = FIRST + MINUTE;
    it.spec = spec({ cron: "0 12 * * *" });
    it.do({ type: "applied", suspend: null, retimed: true });
    expect([it.phases, next(it)]).toEqual([["active"], Date.parse("2026-06-01T12:00:00Z")]);
  });

  test("deletion: every run goes with it, also one whose start is not known yet; then nothing is left", () => {
    const it = new Driven({ concurrency_policy: "allow" })
      .at(FIRST)
      .start("a")
      .at(FIRST + 10 * MINUTE);
    it.do({ type: "attempted", at: FIRST + 10 * MINUTE, manual: false }).do({ type: "delete" });
    expect([it.state.discard, it.phases, isGone(it.state)]).toEqual([["a"], ["due"], false]);
    it.do({ type: "discarded", deployment_id: "a" }).start("b");
    expect(it.posted).toEqual(["delete b"]);
    it.do({ type: "discarded", deployment_id: "b" });
    expect([isGone(it.state), deadlineOf(it.state)]).toEqual([true, null]);
  });
});

describe("random histories", () => {
  const EVENTS = 100_000;
  test(`${EVENTS} events: only listed edges, no time twice, nothing lost, suspended and resting has no timer`, () => {
    const taken = new Set<string>();
    for (let seed = 1, events = 0; events < EVENTS; seed++) {
      const rnd = random(seed);
      const policy = rnd.pick(["allow", "forbid", "replace"] as const);
      const every = rnd.pick([30_000, 600_000, 86_400_000]);
      const starting_deadline = rnd.pick([null, "1m", "1h"]);
      const it = new Driven({ concurrency_policy: policy, starting_deadline }, rnd.chance(0.1));
      it.look = (doneUntil) => steady(every, doneUntil, it.now);
      const begun = new Set<string>();
      let made = 0;
      for (let step = 0; step < 150; step++, events++) {
        const before = it.state;
        const kept = new Set(before.runs.map(runKey));
        if (rnd.chance(0.05)) it.now += (rnd.chance(0.5) ? 1 : -1) * rnd.int(86_400_000);
        else it.now += rnd.int(rnd.pick([1000, 60_000, 600_000]));
        const context = () => `seed ${seed} step ${step} ${before.status} -> ${it.state.status}`;
        // An operator who resumes after the clock was set back says that time begins anew.
        const event = randomEvent(it, rnd, () => `d${seed}-${made++}`);
        if (event.type === "resume" || event.type === "applied") it.now = Math.max(it.now, before.done_until);
        it.do(event);
        let from: string = before.status;
        for (const [old, to] of it.moves) {
          assert.equal(old, from, context());
          assert.ok((SCHEDULE_NEXT[old as ScheduleState["status"]] as readonly string[]).includes(to), context());
          taken.add(`${old} -> ${to}`);
          from = to;
        }
        assert.equal(from, it.state.status, context());
        assert.ok(Schema.safeParse(it.state).success, context());
        for (const run of it.state.runs) {
          if (kept.has(runKey(run))) continue;
          assert.equal(begun.has(runKey(run)), false, `${context()}: ${runKey(run)} a second time`);
          begun.add(runKey(run));
        }
        const underWay = it.state.runs.filter(isUnderWay);
        if (policy === "forbid") assert.ok(underWay.length <= 1, context());
        if (policy === "replace") assert.ok(underWay.filter(({ phase }) => phase === "active").length <= 1, context());
        if (it.state.status === "suspended" && underWay.length === 0)
          assert.equal(deadlineOf(it.state), null, context());
        if (it.state.status === "waiting" || it.state.status === "running")
          assert.notEqual(deadlineOf(it.state), null, context());
        // A deployment is never forgotten: it is a run's, to be deleted, or was told to be gone.
        const held = (state: ScheduleState) =>
          new Set([
            ...state.discard,
            ...state.runs.flatMap((run) => ("deployment_id" in run ? (run.deployment_id ?? []) : [])),
          ]);
        const now = held(it.state);
        for (const id of held(before))
          if (!now.has(id))
            assert.ok(["told", "discarded"].includes(event.type), `${context()}: ${id} lost by ${event.type}`);
        if (isGone(it.state)) break;
      }
    }
    const listed = SCHEDULE_STATUSES.flatMap((from) => SCHEDULE_NEXT[from].map((to) => `${from} -> ${to}`));
    expect(listed.filter((edge) => !taken.has(edge))).toEqual([]);
  }, 120_000);
});

/** What the expression of a steady pace comes to, by arithmetic: a hundred thousand real ones take a minute. */
function steady(every: number, doneUntil: number, now: number): Look {
  const first = (Math.floor(doneUntil / every) + 1) * every;
  if (first > now) return { due: null, first: null, missed: 0, more: false, next: first };
  const due = Math.floor(now / every) * every;
  return { due, first, missed: (due - first) / every, more: false, next: due + every };
}

function randomEvent(it: Driven, rnd: ReturnType<typeof random>, newId: () => string): ScheduleEvent {
  const run = it.state.runs.length > 0 ? rnd.pick(it.state.runs) : null;
  const key = run ? { at: run.at, manual: run.manual } : { at: it.now, manual: false };
  const deployment_id = (run && "deployment_id" in run && run.deployment_id) || "nobody";
  switch (rnd.int(14)) {
    case 0:
      return { type: "trigger" };
    case 1:
      return rnd.chance(0.3) ? { type: "suspend" } : { type: "resume" };
    case 2:
      return { type: "resume" };
    case 3:
      return rnd.chance(0.05) ? { type: "delete" } : { type: "checked" };
    case 4:
      return { type: "applied", suspend: rnd.pick([null, null, true, false]), retimed: rnd.chance(0.3) };
    case 5:
      return { type: "attempted", ...key };
    case 6:
    case 7:
      return rnd.chance(0.9)
        ? { type: "started", ...key, deployment_id: newId() }
        : { type: "refused", ...key, message: "no" };
    case 8:
    case 9: {
      const status = rnd.pick(["running", "completed", "completed", "failed", "deleted", "gone"] as const);
      return { type: "told", deployment_id, standing: { status, message: "" } };
    }
    case 10:
      return it.state.discard.length > 0
        ? { type: "discarded", deployment_id: rnd.pick(it.state.discard) }
        : { type: "checked" };
    default: {
      const deadline = deadlineOf(it.state);
      if (deadline !== null && rnd.chance(0.8)) it.now = Math.max(it.now, deadline);
      return { type: "due" };
    }
  }
}
