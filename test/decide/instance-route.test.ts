import { describe, expect, test } from "vitest";
import { instanceVerdict } from "../../contract/instance-action.ts";
import { INSTANCE_STATUSES } from "../../contract/instance-status.ts";
import { routeHost, routeOf } from "../../objects/instance/route.ts";
import { Driven, HOST } from "./driven-instance.ts";

const ID = "inst_00000000000000000000000000";
const routed = (one: Driven) => routeOf({ id: ID, state: one.state, spec: one.spec }, []);

/** Paused because nobody asked. */
function idle(): Driven {
  const one = Driven.at("running");
  one.spec = { ...one.spec, idle_pause: "5m" };
  return one.later(301_000).do({ type: "idle" }).gone();
}

describe("where queries go", () => {
  test("in every status: to the engine that serves, or why to none, and to whom it comes back", () => {
    const told = Object.fromEntries(
      INSTANCE_STATUSES.map((status) => {
        const one = Driven.at(status);
        const { target, loading, closed, wakes } = routed(one);
        return [status, [target !== null || closed.code, loading !== null, wakes, routeHost(one.state, HOST) === HOST]];
      }),
    );
    expect(told).toEqual({
      registered: ["no_engine", false, false, false],
      testing_connection: ["no_engine", false, false, true],
      queued: ["no_engine", false, false, true],
      building: ["no_engine", false, false, true],
      deploying: ["loading", true, false, true],
      running: [true, true, false, true],
      pausing: ["paused", false, false, true],
      paused: ["paused", false, false, true],
      resuming: ["loading", true, false, true],
      failed: ["no_engine", false, false, true],
      stopped: ["no_engine", false, false, true],
      terminating: ["no_engine", false, false, false],
      terminated: ["no_engine", false, false, false],
    });
  });

  test("a rollout leaves them where they are until the next engine has loaded; then they go there, in one step", () => {
    const one = Driven.at("running");
    const before = routed(one).target;
    one.act("redeploy");
    expect(routed(one).target).toEqual(before);
    one.place();
    expect(routed(one).target).toEqual(before);
    one.load();
    expect(routed(one).target).not.toEqual(before);
    expect(one.state.leaving.map(({ generation }) => generation)).toEqual([before?.generation]);
  });

  test("when an engine dies they wait for the next one, which is soon", () => {
    const one = Driven.at("running");
    one.exit(one.engineSlot(), 1);
    expect(routed(one)).toMatchObject({ target: null, closed: { code: "no_engine", soon: true } });
    one.later(2_000).due().place();
    expect(routed(one)).toMatchObject({ target: null, closed: { soon: true } });
    one.load();
    expect(routed(one).target).toMatchObject({ workload_id: `${ID}-2`, port: 4 });
  });

  test("paused with a schedule, by that or by its user, it is said when that brings it back", () => {
    const pause_schedule = { pause_at: "22:00", resume_at: "06:30", days: [], time_zone: "Europe/Berlin" };
    const scheduled = Driven.at("running");
    scheduled.spec = { ...scheduled.spec, pause_schedule };
    const at = Date.parse("2026-06-01T20:00:00Z");
    scheduled.do({ type: "scheduled", want: "paused", until: at }).gone();
    const resumes_at = Date.parse("2026-06-02T04:30:00Z");
    expect(routed(scheduled).closed).toMatchObject({ code: "paused", resumes_at });
    const byUser = Driven.at("paused");
    expect(routed(byUser).closed).toEqual({ code: "paused", detail: "paused", retry_after_s: 60, soon: false });
    byUser.spec = { ...byUser.spec, pause_schedule };
    expect(routed(byUser).closed).toMatchObject({ retry_after_s: 60, resumes_at });
    const asleep = idle();
    asleep.spec = { ...asleep.spec, pause_schedule };
    expect(routed(asleep).closed.resumes_at, "who asks brings it back").toBeUndefined();
  });

  test("nothing is said there that a stranger should not read", () => {
    const one = Driven.at("building").say(1, {
      kind: "built",
      result: { ok: false, code: "config_invalid", message: "secret of the source", violations: [] },
    });
    expect(JSON.stringify(routed(one))).not.toContain("secret");
  });
});

describe("somebody asks while it is paused", () => {
  test("because nobody asked: it comes back, once, as actor idle", () => {
    const one = idle();
    expect([one.status, one.state.paused_by, routed(one).wakes]).toEqual(["paused", "idle", true]);
    one.do({ type: "wanted" });
    expect([one.status, one.state.operation?.actor, one.state.operation?.by]).toEqual(["resuming", "idle", "idle"]);
    expect(routed(one).wakes).toBe(true);
    const { state } = one;
    one.do({ type: "wanted" });
    expect([one.state, one.reasons]).toEqual([state, []]);
    one.place().load();
    expect([one.status, routed(one).wakes, one.state.serving?.loaded !== null]).toEqual(["running", false, true]);
  });

  test("its user who wants it to stay paused is told how, and it does", () => {
    const one = idle();
    expect(instanceVerdict("pause", one.standing)).toEqual({
      ...{ allowed: false, code: "status_paused", reason: expect.stringContaining("--no-idle-pause") },
    });
    one.spec = { ...one.spec, idle_pause: null };
    one.do({ type: "specified" });
    expect(one.do({ type: "wanted" }).status).toBe("paused");
    expect(instanceVerdict("pause", one.standing)).toMatchObject({ reason: "not possible while paused" });
  });

  test("while it is only being paused: it comes back after that, as a goal", () => {
    const one = Driven.at("running");
    one.spec = { ...one.spec, idle_pause: "5m" };
    one.later(301_000).do({ type: "idle" });
    expect([one.status, routed(one).wakes]).toEqual(["pausing", true]);
    one.do({ type: "wanted" });
    expect(one.state.goal).toMatchObject({ action: "resume", by: "idle", actor: "idle" });
    expect(one.gone().status).toBe("resuming");
  });

  test("by its user or by its schedule: it stays", () => {
    const byUser = Driven.at("paused");
    byUser.spec = { ...byUser.spec, idle_pause: "5m" };
    const bySchedule = Driven.at("running");
    bySchedule.spec = byUser.spec;
    bySchedule.do({ type: "scheduled", want: "paused", until: bySchedule.now }).gone();
    // It rested because nobody asked when its scheduled pause began.
    const both = idle();
    both.do({ type: "scheduled", want: "paused", until: both.now });
    // Its user does not want that any more.
    const off = idle();
    off.spec = { ...off.spec, idle_pause: null };
    for (const one of [byUser, bySchedule, both, off]) {
      expect([one.status, routed(one).wakes]).toEqual(["paused", false]);
      expect(one.do({ type: "wanted" }).status).toBe("paused");
      expect(one.reasons).toEqual([]);
    }
    expect([bySchedule.state.paused_by, both.state.paused_by]).toEqual(["schedule", "schedule"]);
  });

  test("a user's goal is left alone, and what a user resumes and pauses again is the user's", () => {
    const one = Driven.at("running");
    one.spec = { ...one.spec, idle_pause: "5m" };
    one.later(301_000).do({ type: "idle" });
    one.act("terminate");
    expect(one.do({ type: "wanted" }).state.goal).toMatchObject({ action: "terminate", by: "user" });
    const again = idle();
    again.do({ type: "wanted" }).place().act("pause").load().gone();
    expect([again.status, again.state.paused_by]).toEqual(["paused", "user"]);
  });
});

describe("the endpoint", () => {
  test("is told when it comes and when it is another, and not when it goes on", () => {
    const one = Driven.at("running");
    const said = (url: string | null, former: string | null) => {
      one.do({ type: "endpoint", url, former });
      return one.last.entries.map(({ reason, level, data }) => [reason, level, data]);
    };
    expect(said("http://a/i", null)).toEqual([["endpoint_changed", "info", { old: null, new: "http://a/i" }]]);
    expect(said("http://a/i", "http://a/i")).toEqual([]);
    expect(said("http://b/i", "http://a/i")).toEqual([
      ["endpoint_changed", "warning", { old: "http://a/i", new: "http://b/i" }],
    ]);
    expect(said(null, "http://b/i")).toEqual([["endpoint_changed", "warning", { old: "http://b/i", new: null }]]);
  });
});
