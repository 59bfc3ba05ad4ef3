// Random histories of an instance, which a seed replays.
import { describe, expect, test } from "vitest";
import { SLOT } from "../../contract/instance.ts";
import { INSTANCE_ACTIONS, isGoalAction } from "../../contract/instance-action.ts";
import { isStable } from "../../contract/instance-status.ts";
import { publicationRemoval } from "../../contract/source-traces.ts";
import { runnersOf } from "../../objects/instance/draft.ts";
import { instanceView } from "../../objects/instance/view.ts";
import { random } from "../random.ts";
import { built, Driven, FAILED_BUILD, GOOD_TEST, HOST, hostNamed, POSTGRES_TEST } from "./driven-instance.ts";

describe("random histories", () => {
  test.each(Array.from({ length: 60 }, (_, i) => i + 1))("seed %i", (seed) => {
    const { int, pick, chance } = random(seed);
    const one = new Driven();
    one.hosts = [hostNamed(HOST), hostNamed("host_b")];
    const slots = [SLOT.test, SLOT.build, ...SLOT.engines, SLOT.release];
    const test = seed % 2 === 0 ? GOOD_TEST : POSTGRES_TEST;
    for (let step = 0; step < 250; step++) {
      one.later(int(chance(0.1) ? 400_000 : 3_000));
      const before = one.state;
      const slot = pick(slots);
      const stale = chance(0.15) ? { generation: int(one.state.generation + 2) } : {};
      const steps: (() => unknown)[] = [
        () => one.act(pick(INSTANCE_ACTIONS), { size: pick(["nano", "small", "large"]) }),
        () => one.do({ type: "cancel_goal", actor: "tok_me" }),
        () => one.do({ type: "cancel_build", build_id: one.state.operation?.build_id ?? "bld_none", actor: "tok_me" }),
        () => one.place(),
        () => one.place(),
        () => one.say(slot, { kind: "tested", test: { ...test, ok: chance(0.8) } }, stale),
        () => one.say(slot, chance(0.8) ? built() : FAILED_BUILD, stale),
        () => one.say(slot, { kind: "loaded", rows: 1, tables: 1 }, stale),
        () => one.say(slot, { kind: "failed", code: "initial_load_failed", message: "no" }, stale),
        () => one.say(slot, { kind: "released", left: [] }, stale),
        () => {
          // The last word of whatever goes.
          const [going] = one.state.leaving;
          const left = chance(0.5) ? [] : [publicationRemoval("inst_1")];
          if (going) one.say(going.slot, { kind: "released", left }, { generation: going.generation });
        },
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
      // What engines have left at the source was taken away, or it was said how it is.
      if (state.status === "terminated") expect(state.source_traces, at).not.toBe(true);
      if (before.source_traces === true && state.source_traces === false && !one.reasons.includes("left_at_source"))
        expect(one.last.entries, at).toEqual([]);
      // Where an engine is, or may be, it is not taken for clean.
      if (state.source_traces === false) expect([state.serving, state.candidate], at).toEqual([null, null]);
      if (state.status === "paused" && before.status === "pausing" && state.source_traces === true)
        expect(before.operation?.source_released || one.reasons.includes("left_at_source"), at).toBe(true);
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
            unusable_keys: [],
            failed_engine: null,
            route: { generation: 0, host_id: null, body: "", address: null, is_up: false },
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
