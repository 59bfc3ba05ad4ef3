// The instance's machine: the matrix by hand, every goal at every end, what comes of what, and random histories that a seed replays.
import { describe, expect, test } from "vitest";
import { SLOT } from "../../contract/instance.ts";
import {
  type GoalAction,
  INSTANCE_ACTIONS,
  INSTANCE_MATRIX,
  type InstanceAction,
  instanceAllowedActions,
  instanceVerdict,
  isGoalAction,
} from "../../contract/instance-action.ts";
import type { EngineVitals } from "../../contract/instance-report.ts";
import {
  INSTANCE_STATUSES,
  type InstanceStatus,
  isStable,
  STABLE_STATUSES,
  STATUS_DEADLINE_MS,
} from "../../contract/instance-status.ts";
import { runnersOf } from "../../objects/instance/draft.ts";
import { buildInQueue } from "../../objects/instance/letters.ts";
import { lookAtPauses } from "../../objects/instance/pause-times.ts";
import { instanceView } from "../../objects/instance/view.ts";
import { random } from "../random.ts";
import { built, Driven, FAILED_BUILD, GOOD_TEST, HOST, hostNamed } from "./driven-instance.ts";

/**
 * The source's table, written by hand, with what is ours beside it. `Y` now, `Q` queued, `i` needs an earlier successful build, `-` not; `y`: ours;
 * `b`: ours, when nothing of it is on a host.
 */
const COLUMNS: InstanceAction[] = [
  "provision",
  "rebuild",
  "reconfigure",
  "redeploy",
  "resize",
  "pause",
  "resume",
  "terminate",
  "delete",
  "reload",
  "pause-replication",
  "resume-replication",
];
const TABLE: Record<InstanceStatus, string> = {
  //                   Prov Rebu Reco Rede Resi Paus Resu Term Dele Relo PSyn RSyn
  registered: "         Y    -    -    -    Y    -    -    -    Y    -    -    -",
  testing_connection: " -    -    -    -    -    -    -    -    -    -    -    -",
  queued: "             -    -    -    -    -    Q    -    Q    -    -    -    -",
  building: "           -    -    -    -    -    Q    -    Q    -    -    -    -",
  deploying: "          -    -    -    -    Y    Q    -    Q    -    -    -    -",
  running: "            -    Y    Y    i    Y    Y    -    Y    -    Y    Y    Y",
  pausing: "            -    -    -    -    -    -    Q    Q    -    -    -    -",
  paused: "             -    Y    -    i    Y    -    Y    Y    -    -    -    -",
  resuming: "           -    -    -    -    -    Q    -    Q    -    -    -    -",
  failed: "             Y    i    i    i    -    -    -    Y    b    -    -    -",
  stopped: "            Y    -    -    -    Y    -    -    -    y    -    -    -",
  terminating: "        -    -    -    -    -    -    -    -    -    -    -    -",
  terminated: "         y    -    -    -    -    -    -    -    y    -    -    -",
};
const cells = INSTANCE_STATUSES.flatMap((status) =>
  TABLE[status]
    .trim()
    .split(/\s+/)
    .map((mark, i) => [status, COLUMNS[i] as InstanceAction, mark] as const),
);

describe("the matrix", () => {
  test("has 156 cells, and none besides", () => {
    expect(cells).toHaveLength(156);
    expect(COLUMNS).toEqual([...INSTANCE_ACTIONS]);
    const marked = cells.filter(([, , mark]) => mark !== "-").length;
    expect(Object.values(INSTANCE_MATRIX).flatMap((row) => Object.keys(row))).toHaveLength(marked);
  });

  test.each(cells)("%s × %s is %s", (status, action, mark) => {
    const bare = { status, goal: null, has_image: false, nothing_running: false };
    const full = { status, goal: null, has_image: true, nothing_running: true };
    const mode = mark === "Q" ? "queued" : "immediate";
    if (mark === "-") {
      for (const standing of [bare, full])
        expect(instanceVerdict(action, standing)).toEqual({
          allowed: false,
          code: `status_${status}`,
          reason: `not possible while ${status}`,
        });
      return;
    }
    expect(instanceVerdict(action, full)).toEqual({ allowed: true, mode });
    const without = instanceVerdict(action, bare);
    if (mark === "i") expect(without).toMatchObject({ allowed: false, code: "no_image" });
    else if (mark === "b") expect(without).toMatchObject({ allowed: false, code: "still_running" });
    else expect(without).toEqual({ allowed: true, mode });
    const cell = INSTANCE_MATRIX[status][action];
    expect(cell?.ours === true, "flagged as ours").toBe(mark === "y" || mark === "b");
  });

  test.each(INSTANCE_STATUSES)("%s × cancel-goal: with a goal only", (status) => {
    const standing = { status, goal: null, has_image: true, nothing_running: true };
    expect(instanceVerdict("cancel-goal", standing)).toMatchObject({ allowed: false, code: "no_goal" });
    expect(instanceVerdict("cancel-goal", { ...standing, goal: "pause" })).toEqual({
      allowed: true,
      mode: "immediate",
    });
  });

  test("allowedActions has all 13; mode only when allowed, code and reason only when not", () => {
    for (const status of INSTANCE_STATUSES) {
      const all = instanceAllowedActions({ status, goal: null, has_image: true, nothing_running: true });
      expect(Object.keys(all)).toEqual([...COLUMNS, "cancel-goal"]);
      for (const one of Object.values(all))
        expect(Object.keys(one).sort()).toEqual(one.allowed ? ["allowed", "mode"] : ["allowed", "code", "reason"]);
    }
  });

  test("an action that is allowed at once changes something or is so already, and one that is not changes nothing", () => {
    for (const [status, action] of cells) {
      const one = Driven.at(status);
      const verdict = instanceVerdict(action, one.standing);
      const before = one.state;
      one.act(action, { size: "small" });
      if (!verdict.allowed) expect([one.state, one.last.entries], `${status} ${action}`).toEqual([before, []]);
      else if (action !== "resume-replication")
        expect(one.last.entries.length, `${status} ${action}`).toBeGreaterThan(0);
    }
  });
});

describe("goals", () => {
  const queueable = cells
    .filter(([, , mark]) => mark === "Q")
    .map(([status, action]) => [status, action as GoalAction] as const);

  /** The ways in which a passing status ends. */
  const ENDS: Partial<Record<InstanceStatus, [string, (one: Driven) => Driven][]>> = {
    queued: [
      ["well", (one) => one.admit().place().say(SLOT.build, built()).place().load()],
      ["badly", (one) => one.later(STATUS_DEADLINE_MS.queued).due()],
    ],
    building: [
      ["well", (one) => one.say(SLOT.build, built()).place().load()],
      ["badly", (one) => one.say(SLOT.build, FAILED_BUILD)],
    ],
    deploying: [
      ["well", (one) => one.load()],
      ["badly", (one) => one.later(STATUS_DEADLINE_MS.deploying).due()],
    ],
    resuming: [
      ["well", (one) => one.load()],
      ["badly", (one) => one.later(STATUS_DEADLINE_MS.resuming).due()],
    ],
    pausing: [
      ["well", (one) => one.gone()],
      ["badly", (one) => one.later(STATUS_DEADLINE_MS.pausing).due()],
    ],
  };
  const cases = queueable.flatMap(([status, action]) =>
    (ENDS[status] ?? []).map(([how, end]) => [status, action, how, end] as const),
  );

  test.each(cases)("%s, then %s: what is queued is done, or dropped, when it ends %s", (status, action, how, end) => {
    const one = Driven.at(status).act(action);
    expect([one.status, one.state.goal?.action, one.reasons]).toEqual([status, action, ["goal_set"]]);
    end(one);
    const expected = {
      pause: { well: ["pausing", "goal_started"], badly: ["failed", "goal_dropped"] },
      terminate: { well: ["terminating", "goal_started"], badly: ["terminating", "goal_started"] },
      resume: { well: ["resuming", "goal_started"], badly: ["failed", "goal_dropped"] },
    }[action][how as "well" | "badly"] as [InstanceStatus, string];
    // Nothing of what is paused is left on any host: there is nothing to wait for.
    if (status === "pausing" && action === "terminate" && how === "well") {
      expect([one.status, one.reasons]).toEqual([
        "terminated",
        expect.arrayContaining(["goal_started", "goal_reached"]),
      ]);
      return;
    }
    expect([one.status, one.state.goal]).toEqual([expected[0], null]);
    expect(one.reasons).toContain(expected[1]);
    if (expected[1] === "goal_dropped") return;
    expect(one.state.operation).toMatchObject({ action, goal: true, actor: "tok_me" });
    one.heard = [];
    one.gone().place();
    if (action === "resume") one.load();
    expect(one.status).toBe({ pause: "paused", terminate: "terminated", resume: "running" }[action]);
    expect(one.heard).toContain("goal_reached");
  });

  test.each(queueable)(
    "%s: while %s is queued it may be asked again, anything else is in conflict until it is cancelled",
    (status, action) => {
      const one = Driven.at(status).act(action);
      const { revision: _, ...goal } = { revision: 0, ...one.state.goal };
      expect(instanceVerdict(action, one.standing)).toEqual({ allowed: true, mode: "queued" });
      one.later(5).act(action);
      expect([one.state.goal, one.last.entries]).toEqual([goal, []]);
      for (const other of queueable.filter(([at, act]) => at === status && act !== action).map(([, act]) => act)) {
        expect(instanceVerdict(other, one.standing)).toMatchObject({ allowed: false, code: "goal_conflict" });
        one.act(other);
        expect(one.state.goal).toEqual(goal);
      }
      one.do({ type: "cancel_goal", actor: "tok_me" });
      expect([one.state.goal, one.reasons, one.status]).toEqual([null, ["goal_cancelled"], status]);
      one.do({ type: "cancel_goal", actor: "tok_me" });
      expect(one.last.entries).toEqual([]);
    },
  );

  test("a pause schedule queues as a user would, and leaves what a user queued alone", () => {
    const at = START_OF_NEXT;
    const one = Driven.at("building").do({ type: "scheduled", want: "paused", until: at });
    expect(one.state.goal).toMatchObject({ action: "pause", by: "schedule" });
    const other = Driven.at("building").act("terminate").do({ type: "scheduled", want: "paused", until: at });
    expect([other.state.goal?.by, other.reasons, other.state.schedule_until]).toEqual([
      "user",
      ["schedule_skipped"],
      at,
    ]);
    const done = Driven.at("paused").do({ type: "scheduled", want: "paused", until: at });
    expect([done.status, done.reasons]).toEqual(["paused", []]);
    expect(Driven.at("paused").do({ type: "scheduled", want: "running", until: at }).status).toBe("resuming");
    expect(Driven.at("failed").do({ type: "scheduled", want: "paused", until: at }).reasons).toEqual([
      "schedule_skipped",
    ]);
  });
});

const START_OF_NEXT = Date.parse("2026-06-01T18:00:00Z");

describe("builds", () => {
  test("provision: test, queue, build, deploy, run; each step is told to whom it concerns", () => {
    const one = new Driven().act("provision");
    expect([one.status, [...one.letters]]).toEqual(["testing_connection", ["place"]]);
    one.do({ type: "hosts", hosts: one.hosts });
    expect([...one.letters]).toEqual(["offer"]);
    one.place().say(SLOT.test, { kind: "tested", test: GOOD_TEST });
    const build = one.state.operation?.build_id as string;
    expect([one.status, [...one.letters].sort()]).toEqual(["queued", [`queue ${build}`, "withdraw"]]);
    one.admit();
    expect([one.status, [...one.letters]]).toEqual(["building", ["place"]]);
    one.place().say(SLOT.build, built());
    expect([one.status, [...one.letters].sort()]).toEqual(["deploying", ["place", `queue ${build}`, "withdraw"]]);
    one.place().load();
    expect([one.status, one.state.deployed?.build_id, one.state.operation]).toEqual(["running", build, null]);
  });

  test("a rebuild that fails anywhere leaves the engine that serves, and says so", () => {
    const fails: [string, (one: Driven) => Driven][] = [
      [
        "test",
        (one) =>
          one.say(SLOT.test, {
            kind: "tested",
            test: { ...GOOD_TEST, ok: false, error: { code: "auth_failed", message: "no" } },
          }),
      ],
      ["test timeout", (one) => one.later(60_000).due()],
      ["queue", (one) => one.say(SLOT.test, { kind: "tested", test: GOOD_TEST }).later(1_800_000).due()],
      [
        "build",
        (one) => one.say(SLOT.test, { kind: "tested", test: GOOD_TEST }).admit().place().say(SLOT.build, FAILED_BUILD),
      ],
      [
        "builder dies",
        (one) =>
          one
            .say(SLOT.test, { kind: "tested", test: GOOD_TEST })
            .admit()
            .place()
            .exit(SLOT.build, 1)
            .later(15_000)
            .due(),
      ],
      [
        "load",
        (one) => rolledOut(one).say(one.engineSlot(), { kind: "failed", code: "initial_load_failed", message: "no" }),
      ],
    ];
    for (const [what, break_] of fails) {
      const one = Driven.at("running");
      const serving = one.state.serving;
      one.act("rebuild").place();
      break_(one);
      expect([one.status, one.state.serving, one.state.candidate, one.state.job], what).toEqual([
        "running",
        serving,
        null,
        null,
      ]);
      expect(one.state.last_operation, what).toMatchObject({ action: "rebuild", outcome: "failed" });
      expect(one.state.last_error, what).not.toBeNull();
      expect(buildInQueue(one.state), what).toBeNull();
      one.gone();
      expect(one.state.leaving, what).toEqual([]);
    }
  });

  test("a rebuild switches when the new engine has loaded, and not before", () => {
    const one = Driven.at("running");
    const old = one.state.serving?.runner.generation;
    rolledOut(one.act("rebuild").place());
    expect([one.status, one.state.serving?.runner.generation]).toEqual(["deploying", old]);
    expect(one.state.candidate?.runner.slot).not.toBe(one.state.serving?.runner.slot);
    one.load();
    expect(one.status).toBe("running");
    expect(one.state.serving?.runner.generation).toBeGreaterThan(old as number);
    expect(one.state.leaving.map(({ generation }) => generation)).toContain(old);
  });

  test("an artifact that only its host keeps is rolled out there, and not at all when that host is gone", () => {
    const one = Driven.at("paused");
    one.pinned = { [one.state.deployed?.build_id as string]: "host_b" };
    one.hosts = [hostNamed(HOST), hostNamed("host_b")];
    expect(one.act("resume").place().runner(one.engineSlot())).toMatchObject({ host_id: "host_b" });
    const lost = Driven.at("paused");
    lost.pinned = { [lost.state.deployed?.build_id as string]: "host_b" };
    lost.act("resume").place();
    expect([lost.status, lost.state.last_error?.code]).toEqual(["failed", "image_missing"]);
  });
});

const rolledOut = (one: Driven): Driven =>
  one.say(SLOT.test, { kind: "tested", test: GOOD_TEST }).admit().place().say(SLOT.build, built()).place();

describe("resize", () => {
  test.each(["registered", "paused", "stopped"] as const)("%s: only stores the size, which is used next", (status) => {
    const one = Driven.at(status).act("resize", { size: "large" });
    expect([one.status, one.spec.settings.size, one.letters.size]).toEqual([status, "large", 0]);
    one.act(status === "paused" ? "resume" : "provision").place();
    if (status !== "paused") rolledOut(one);
    expect(one.state.candidate?.settings.size).toBe("large");
  });

  test("running: another engine of that size is rolled out beside it", () => {
    const one = Driven.at("running").act("resize", { size: "small" });
    expect([one.status, one.state.candidate?.settings.size, one.state.serving?.settings.size]).toEqual([
      "deploying",
      "small",
      "nano",
    ]);
    expect(Driven.at("running").act("resize", { size: "nano" }).status).toBe("running");
  });

  test("deploying: rescues a rollout that is out of memory, and the reports of the former engine count no more", () => {
    const one = Driven.at("deploying");
    const before = one.state.operation;
    one.exit(one.engineSlot(), null, true);
    expect([one.status, one.state.candidate?.trouble?.code]).toEqual(["deploying", "oom"]);
    expect(one.state.candidate?.trouble?.message).toContain("resize");
    const stale = one.runner(one.engineSlot()).generation;
    one.act("resize", { size: "medium" });
    expect(one.state.operation).toMatchObject({ id: before?.id, revision: 2 });
    one.place();
    one.say(one.engineSlot(), { kind: "loaded", rows: 1, tables: 1 }, { generation: stale });
    one.say(one.engineSlot(), { kind: "loaded", rows: 1, tables: 1 }, { revision: 1 });
    expect(one.status).toBe("deploying");
    one.load();
    expect([one.status, one.state.serving?.settings.size]).toEqual(["running", "medium"]);
  });

  test("deploying: out of memory and not rescued ends in failed, with that reason", () => {
    const one = Driven.at("deploying");
    for (let i = 0; i < 20 && one.status === "deploying"; i++) {
      if (one.runner(one.engineSlot()).phase === "running") one.exit(one.engineSlot(), null, true);
      one.now = Math.max(one.now, one.deadline as number);
      one.due();
      if (one.status === "deploying") one.place();
    }
    expect([one.status, one.state.last_error?.code]).toEqual(["failed", "oom"]);
  });
});

describe("the engine that serves", () => {
  const vitals = (over: Partial<EngineVitals> = {}): EngineVitals => ({
    replication: "live",
    snapshot_age_ms: 5,
    swap_count: 1,
    row_counts: {},
    memory_bytes: null,
    source_position: null,
    last_query_at: null,
    ...over,
  });

  test("that dies is started again, later and later, and given up in the end", () => {
    const one = Driven.at("running");
    const waits: number[] = [];
    while (one.status === "running") {
      one.exit(one.engineSlot(), 1);
      if (one.status !== "running") break;
      waits.push((one.deadline as number) - one.now);
      one.now = one.deadline as number;
      one.due().place();
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000]);
    expect([one.status, one.state.last_error?.code, one.state.serving]).toEqual(["failed", "engine_died", null]);
  });

  test("that was shut down well by somebody else leaves the instance stopped", () => {
    const one = Driven.at("running").exit(Driven.at("running").engineSlot(), 0);
    expect([one.status, one.reasons, one.state.serving]).toEqual(["stopped", ["engine_stopped"], null]);
  });

  test("that loses its source says so once, and once when it is back", () => {
    const one = Driven.at("running");
    const slot = one.engineSlot();
    const said: string[] = [];
    for (const replication of ["live", "reconnecting", "reconnecting", "resyncing", "live", "live"] as const) {
      one.say(slot, { kind: "vitals", vitals: vitals({ replication }) });
      said.push(...one.reasons);
    }
    expect(said).toEqual(["replication_degraded", "replication_resyncing", "replication_recovered"]);
    one.say(slot, { kind: "drift", schema_hash: "t", changes: ["orders: + note"] });
    expect(one.reasons).toEqual(["schema_drift"]);
    expect(one.say(slot, { kind: "drift", schema_hash: "t", changes: ["orders: + note"] }).reasons).toEqual([]);
  });

  test("is paused when it was idle for as long as was said, by its own actor", () => {
    const one = Driven.at("running");
    one.spec = { ...one.spec, idle_pause: "10m" };
    expect(one.deadline).toBe(one.now + 600_000);
    one.later(300_000);
    one.busyAt = one.now;
    one.later(300_000).do({ type: "idle" });
    expect(one.status).toBe("running");
    one.later(300_000).do({ type: "idle" });
    expect([one.status, one.state.operation?.by, one.state.operation?.actor]).toEqual(["pausing", "idle", "idle"]);
  });

  test("moves when its host is lost; what may still be there is to go when the host is back", () => {
    const one = Driven.at("running");
    const slot = one.engineSlot();
    const { generation } = one.runner(slot);
    one.do({ type: "evicted", host_id: HOST, why: "host_lost", slots: [{ slot, generation }] });
    expect([one.status, one.runner(slot).phase, one.state.leaving]).toEqual([
      "running",
      "placing",
      [{ slot, generation, host_id: HOST }],
    ]);
    one.hosts = [hostNamed("host_b")];
    one.place().say(slot, { kind: "loaded", rows: 1, tables: 1 });
    expect([one.state.serving?.loaded?.rows, one.reasons]).toEqual([1, ["engine_recovered"]]);
  });

  test("is rolled out elsewhere before its host is drained", () => {
    const one = Driven.at("running");
    const slot = one.engineSlot();
    const { generation } = one.runner(slot);
    one.do({ type: "evicted", host_id: HOST, why: "host_draining", slots: [{ slot, generation }] });
    expect([one.status, one.state.serving?.runner.generation, one.state.operation?.by]).toEqual([
      "deploying",
      generation,
      "host",
    ]);
  });

  test("replication is paused and resumed by level: asked twice it is so already", () => {
    const one = Driven.at("running").act("pause-replication");
    expect([one.reasons, [...one.letters]]).toEqual([["replication_paused"], ["orders"]]);
    expect(one.act("pause-replication").reasons).toEqual([]);
    expect(one.act("resume-replication").reasons).toEqual(["replication_resumed"]);
    expect([one.act("reload").state.reloads, [...one.letters]]).toEqual([1, ["orders"]]);
  });
});

describe("time", () => {
  test.each(INSTANCE_STATUSES.filter((status) => !isStable(status)))(
    "%s has a deadline, and a defined end when nothing is heard",
    (status) => {
      const one = Driven.at(status);
      let rings = 0;
      const started = one.now;
      while (one.status === status && rings++ < 200) {
        expect(one.deadline).not.toBeNull();
        one.now = Math.max(one.now, one.deadline as number);
        one.due();
        if (status === "terminating" && one.state.degraded) break;
      }
      expect(one.now - started).toBeLessThanOrEqual(STATUS_DEADLINE_MS[status as keyof typeof STATUS_DEADLINE_MS]);
      expect(one.status).toBe(status === "terminating" ? "terminating" : "failed");
      if (status !== "terminating") expect(one.state.last_error?.message).toBeTruthy();
      else expect(one.gone().status).toBe("terminated");
    },
  );

  test.each(STABLE_STATUSES)("%s rests", (status) => {
    expect(Driven.at(status).deadline).toBeNull();
  });

  test("of a pause schedule, the time that came last counts, in its own time zone", () => {
    const schedule = { pause_at: "19:00", resume_at: "07:30", days: [], time_zone: "Europe/Berlin" };
    const evening = Date.parse("2026-06-01T17:00:00Z");
    expect(lookAtPauses(schedule, evening - 1, evening).due).toEqual({ want: "paused", at: evening });
    const morning = Date.parse("2026-06-02T05:30:00Z");
    expect(lookAtPauses(schedule, evening, evening)).toEqual({ due: null, next: morning });
    expect(lookAtPauses(schedule, evening - 1, morning + 5).due).toEqual({ want: "running", at: morning });
  });
});

describe("random histories", () => {
  test.each(Array.from({ length: 60 }, (_, i) => i + 1))("seed %i", (seed) => {
    const { int, pick, chance } = random(seed);
    const one = new Driven();
    one.hosts = [hostNamed(HOST), hostNamed("host_b")];
    const slots = [SLOT.test, SLOT.build, ...SLOT.engines];
    for (let step = 0; step < 250; step++) {
      one.later(int(chance(0.1) ? 400_000 : 3_000));
      const before = one.state;
      const slot = pick(slots);
      const stale = chance(0.15) ? { generation: int(one.state.generation + 2) } : {};
      const steps: (() => unknown)[] = [
        () => one.act(pick(COLUMNS), { size: pick(["nano", "small", "large"]) }),
        () => one.do({ type: "cancel_goal", actor: "tok_me" }),
        () => one.place(),
        () => one.place(),
        () => one.say(slot, { kind: "tested", test: { ...GOOD_TEST, ok: chance(0.8) } }, stale),
        () => one.say(slot, chance(0.8) ? built() : FAILED_BUILD, stale),
        () => one.say(slot, { kind: "loaded", rows: 1, tables: 1 }, stale),
        () => one.say(slot, { kind: "failed", code: "initial_load_failed", message: "no" }, stale),
        () => one.admit(),
        () => one.gone(),
        () => one.exit(slot, pick([0, 1, null]), chance(0.2)),
        () => one.due(),
        () =>
          one.do({
            type: "evicted",
            host_id: pick([HOST, "host_b"]),
            why: pick(["host_lost", "host_draining", "host_removed"]),
            slots: slots.map((at) => ({
              slot: at,
              generation: runnersOf(one.state).find((r) => r.slot === at)?.generation ?? 0,
            })),
          }),
        () => one.do({ type: "scheduled", want: pick(["paused", "running"]), until: one.now }),
      ];
      pick(steps)();
      const { state } = one;
      const at = `seed ${seed} step ${step}: ${before.status} → ${state.status}`;
      // Whatever has a place on a host is either in use or told to go; nothing is forgotten.
      expect(new Set(runnersOf(state).map((runner) => runner.slot)).size, at).toBe(runnersOf(state).length);
      expect(state.generation, at).toBeGreaterThanOrEqual(before.generation);
      if (!isStable(state.status)) expect(one.deadline, at).not.toBeNull();
      if (state.goal !== null) expect(isStable(state.status), at).toBe(false);
      if (state.goal !== null) expect(isGoalAction(state.goal.action), at).toBe(true);
      // No rollout takes the engine down that serves: it only goes by pause, terminate, its own death, or a successor that has loaded.
      if (before.status === "deploying" && state.status !== "deploying" && before.serving && state.status !== "running")
        expect(["pausing", "terminating", "failed", "testing_connection"], at).toContain(state.status);
      if (["registered", "paused", "terminated"].includes(state.status)) expect(state.serving, at).toBeNull();
      if (state.status === "terminated") expect([state.leaving, state.deployed], at).toEqual([[], null]);
      expect(() =>
        instanceView(
          {
            identity: IDENTITY,
            spec: one.spec,
            state,
            revision: 1,
            updated_at: one.now,
            deleted: false,
            builds: [],
            image: one.image,
            pinned: {},
            vitals: null,
          },
          0,
        ),
      ).not.toThrow();
    }
    // Left alone, with hosts that answer, every history comes to rest.
    for (let i = 0; i < 400 && (!isStable(one.status) || one.state.leaving.length > 0); i++) {
      one.gone();
      if (one.deadline !== null) one.now = Math.max(one.now, one.deadline);
      one.due();
    }
    expect([isStable(one.status), one.state.leaving.length], `seed ${seed}`).toEqual([true, 0]);
  });
});

const IDENTITY = {
  id: "inst_1",
  namespace: "default",
  name: "i",
  connection_id: "conn_1",
  database_id: null,
  schema: "shop",
  region: "default",
  created_at: 0,
};
