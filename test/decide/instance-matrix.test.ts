// The instance's matrix, written by hand, and every goal at every end of what is under way.
import { describe, expect, test } from "vitest";
import { SLOT } from "../../contract/instance.ts";
import {
  type GoalAction,
  INSTANCE_ACTIONS,
  INSTANCE_MATRIX,
  type InstanceAction,
  instanceAllowedActions,
  instanceVerdict,
} from "../../contract/instance-action.ts";
import { INSTANCE_STATUSES, type InstanceStatus, STATUS_DEADLINE_MS } from "../../contract/instance-status.ts";
import { built, Driven, FAILED_BUILD } from "./driven-instance.ts";

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
