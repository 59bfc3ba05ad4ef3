// The instance's machine: what comes of what.
import { describe, expect, test } from "vitest";
import { SLOT } from "../../contract/instance.ts";
import type { EngineVitals } from "../../contract/instance-report.ts";
import { INSTANCE_STATUSES, isStable, STABLE_STATUSES, STATUS_DEADLINE_MS } from "../../contract/instance-status.ts";
import { buildInQueue } from "../../objects/instance/letters.ts";
import { lookAtPauses } from "../../objects/instance/pause-times.ts";
import { healthOf } from "../../objects/instance/view.ts";
import { built, Driven, FAILED_BUILD, GOOD_TEST, HOST, hostNamed } from "./driven-instance.ts";

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

  const cancelled = (one: Driven) =>
    one.do({ type: "cancel_build", build_id: one.state.operation?.build_id as string, actor: "tok_me" });

  test("a build that is cancelled says by whom, and what was queued is done; one that is over cannot be", () => {
    const one = new Driven().act("provision");
    one.do({ type: "hosts", hosts: one.hosts });
    one.place().say(SLOT.test, { kind: "tested", test: GOOD_TEST }).act("terminate");
    const build = one.state.operation?.build_id as string;
    one.do({ type: "cancel_build", build_id: "bld_another", actor: "tok_me" });
    expect([one.status, one.state.goal?.action]).toEqual(["queued", "terminate"]);
    cancelled(one);
    expect(one.letters).toContain(`queue ${build}`);
    one.gone();
    expect([one.status, one.state.goal]).toEqual(["terminated", null]);
    const other = Driven.at("running");
    const before = other.state;
    other.do({ type: "cancel_build", build_id: before.deployed?.build_id as string, actor: "tok_me" });
    expect(other.state).toEqual(before);
    other.act("rebuild").place().say(SLOT.test, { kind: "tested", test: GOOD_TEST });
    cancelled(other);
    expect(other.state.last_error).toMatchObject({
      code: "build_cancelled",
      category: "build",
      message: "the build was cancelled by tok_me",
    });
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
      ["cancelled in the queue", (one) => cancelled(one.say(SLOT.test, { kind: "tested", test: GOOD_TEST }))],
      ["cancelled", (one) => cancelled(one.say(SLOT.test, { kind: "tested", test: GOOD_TEST }).admit().place())],
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
        (one) => rolledOut(one).say(one.engineSlot(), { kind: "failed", code: "verification_failed", message: "no" }),
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
});

const rolledOut = (one: Driven): Driven =>
  one.say(SLOT.test, { kind: "tested", test: GOOD_TEST }).admit().place().say(SLOT.build, built()).place();

test.each([
  [1e6, "nano", null],
  [300e6, "nano", "resize it to small, or leave out"],
  [300e6, "small", null],
  [100e9, "2xlarge", "anew: leave out"],
  [null, "nano", null],
] as const)("a source of %s bytes and an engine of size %s: %s", (estimated_bytes, size, said) => {
  const one = Driven.at("testing_connection");
  one.spec = { ...one.spec, settings: { ...one.spec.settings, size } };
  one.say(SLOT.test, { kind: "tested", test: { ...GOOD_TEST, estimated_bytes } });
  const found = one.last.entries.filter(({ data }) => data?.code === "size_exceeds_instance");
  expect([one.status, found.length]).toEqual(["queued", said === null ? 0 : 1]);
  if (said !== null) expect(found[0]?.message).toContain(said);
});

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

  test("an engine that ends with 137 saw by itself that it is out of memory", () => {
    const one = Driven.at("deploying");
    expect(one.exit(one.engineSlot(), 137).state.candidate?.trouble?.code).toBe("oom");
  });

  test("a load that does not fit is not repeated", () => {
    const one = Driven.at("deploying");
    const { generation } = one.runner(one.engineSlot());
    one.exit(one.engineSlot(), 137);
    one.now += 299_000;
    one.due();
    expect([one.status, one.runner(one.engineSlot()).generation]).toEqual(["deploying", generation]);
    one.now += 1000;
    expect([one.due().status, one.state.last_error?.code]).toEqual(["failed", "oom"]);
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

  test.each([
    ["auth_failed", 1],
    ["publication_missing", 1],
    ["schema_drift", 1],
    ["image_missing", 1],
    ["connect_refused", 6],
    ["engine_died", 6],
  ])("that ends with %s is started again only where that can help, and the reason stays", (code, deaths) => {
    const one = Driven.at("running");
    for (let death = 1; one.status === "running"; death++) {
      expect(death).toBeLessThanOrEqual(deaths);
      one.say(one.engineSlot(), { kind: "failed", code, message: `no: ${code}` });
      if (one.status !== "running") expect(death).toBe(deaths);
      else one.exit(one.engineSlot(), 1).next();
    }
    expect(one.state.last_error).toMatchObject({ code, message: `no: ${code}` });
  });

  test.each([
    ["repl_grant_missing", 1],
    ["connect_timeout", 3],
  ])("that is rolled out and ends with %s fails with it", (code, deaths) => {
    const one = Driven.at("deploying");
    for (let death = 1; death <= deaths; death++) {
      expect(one.status).toBe("deploying");
      one.say(one.engineSlot(), { kind: "failed", code, message: "no" });
      if (one.status === "deploying") one.exit(one.engineSlot(), 1).next();
    }
    expect([one.status, one.state.last_error?.code]).toEqual(["failed", code]);
  });

  test("that served and whose rows do not fit when they are read again is given up", () => {
    const one = Driven.at("running");
    one.exit(one.engineSlot(), 137).next();
    expect(one.status).toBe("running");
    one.exit(one.engineSlot(), 137);
    expect([one.status, one.state.last_error?.code]).toEqual(["failed", "oom"]);
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
    expect(one.say(slot, { kind: "drift", schema_hash: "s", changes: [] }).reasons).toEqual(["schema_fits"]);
    expect([one.state.drift, one.say(slot, { kind: "drift", schema_hash: "s", changes: [] }).reasons]).toEqual([
      null,
      [],
    ]);
  });

  test("that has drifted is degraded, and says so, until the schema is what was built again", () => {
    const one = Driven.at("running");
    const slot = one.engineSlot();
    const health = () => healthOf(one.state.serving as NonNullable<typeof one.state.serving>, one.state);
    one.say(slot, { kind: "vitals", vitals: vitals({ replication: "drifted", message: "users.name is gone" }) });
    expect([one.reasons, health()]).toEqual([["replication_degraded"], "degraded"]);
    one.say(slot, { kind: "vitals", vitals: vitals({ replication: "resyncing" }) });
    one.say(slot, { kind: "vitals", vitals: vitals() });
    expect([one.reasons, health()]).toEqual([["replication_recovered"], "ok"]);
  });

  test("that polls says why, unless that was asked for", () => {
    const told = (message?: string) => {
      const one = Driven.at("running");
      const said = message === undefined ? {} : { message };
      return one.say(one.engineSlot(), { kind: "vitals", vitals: vitals({ replication: "polling", ...said }) }).reasons;
    };
    expect([told("publication_missing: CREATE PUBLICATION p"), told()]).toEqual([["replication_polling"], []]);
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
