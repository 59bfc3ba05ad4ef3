import assert from "node:assert/strict";
import { describe, expect, test } from "vitest";
import type { Facts } from "../../objects/deployment/draft.ts";
import { random } from "../random.ts";
import { type Version, World } from "./rollout-world.ts";

const LONG = 20_000;

/** Goes on until nothing is left to happen. */
function settle(world: World, faults = 0, watch: () => void = () => {}): void {
  for (let i = 0; i < LONG; i++) {
    if (!world.step(faults)) return;
    watch();
  }
  throw new Error(
    `does not settle: ${JSON.stringify(world.present.map(({ id, it, letters }) => [id, it.state.status, it.state.rollout, [...letters]]))}`,
  );
}

const running = (version: Version, replicas: number) => {
  expect(version.it.state).toMatchObject({ status: "running", rollout: { role: "none" } });
  expect(version.ready).toBe(replicas);
};

describe("a rolling update", () => {
  test.each([
    [1, 1, 0],
    [3, 1, 0],
    [3, 0, 1],
    [4, 2, 1],
    [5, 5, 0],
    [2, 1, 2],
  ])(
    "of %i replicas with surge %i and %i unavailable keeps both bounds in any order of events",
    (replicas, max_surge, max_unavailable) => {
      for (let seed = 1; seed <= 400; seed++) {
        const world = new World(random(seed));
        const before = world.apply(replicas, { max_surge, max_unavailable });
        settle(world);
        running(before, replicas);
        const after = world.apply(replicas, { max_surge, max_unavailable });
        settle(world, 0, () => {
          assert.ok(world.ready >= replicas - max_unavailable, `seed ${seed}: ready`);
          assert.ok(world.size <= replicas + max_surge, `seed ${seed}: size`);
        });
        running(after, replicas);
        expect(before.gone, `seed ${seed}`).toBe(true);
        expect(after.it.entries.filter((reason) => reason === "rolling_update_step")).toHaveLength(replicas);
        expect(after.it.entries.filter((reason) => reason === "rolling_update_complete")).toHaveLength(1);
      }
    },
  );

  test("to another number of replicas ends with that many", () => {
    for (let seed = 1; seed <= 400; seed++) {
      const rnd = random(seed);
      const world = new World(rnd);
      const [from, to] = [1 + rnd.int(5), 1 + rnd.int(5)];
      world.apply(from);
      settle(world);
      const after = world.apply(to);
      settle(world, 0, () => assert.ok(world.ready >= Math.min(from, to), `seed ${seed}`));
      running(after, to);
    }
  });

  test("that another one overtakes keeps the bound, and the last wins", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const rnd = random(seed);
      const world = new World(rnd);
      world.apply(3);
      settle(world);
      let last = world.apply(3);
      for (let more = 1 + rnd.int(3); more > 0; more--) {
        for (let steps = rnd.int(60); steps > 0; steps--) world.step(0);
        last = world.apply(3);
      }
      settle(world, 0, () => assert.ok(world.ready >= 3, `seed ${seed}`));
      running(last, 3);
      expect(world.present, `seed ${seed}`).toHaveLength(1);
    }
  });

  test("whose new version never gets ready goes back, and the old one serves on", () => {
    for (const on_deadline of ["rollback", "fail"] as const) {
      for (let seed = 1; seed <= 400; seed++) {
        const world = new World(random(seed));
        const before = world.apply(3);
        settle(world);
        const bad = world.apply(3, { on_deadline, patience_ms: 60_000 });
        let readied = seed % 3;
        world.canBeReady = (version) => version !== bad || readied-- > 0;
        settle(world, 0, () => assert.ok(world.ready >= 3, `seed ${seed}`));
        running(before, 3);
        expect(before.it.entries).toContain("rolled_back");
        expect(bad.it.entries).toContain("rolling_update_failed");
        if (on_deadline === "rollback") expect(bad.gone, `seed ${seed}`).toBe(true);
        else expect(bad.it.state).toMatchObject({ status: "failed", reason: "readiness_deadline_exceeded" });
        expect(bad.size).toBe(0);
      }
    }
  });

  test("with `drain` the old version goes at the deadline all the same", () => {
    const world = new World(random(1));
    const before = world.apply(2);
    settle(world);
    const bad = world.apply(2, { patience_ms: 60_000 });
    world.canBeReady = (version) => version !== bad;
    settle(world);
    expect(before.gone).toBe(true);
    expect(bad.it.entries).toContain("rolling_update_deadline_forced");
    // Alone now, it is a deployment like another, whose readiness has a deadline.
    expect(bad.it.state).toMatchObject({ status: "failed", reason: "readiness_deadline_exceeded" });
  });

  test("can be paused, resumed and undone", () => {
    for (let seed = 1; seed <= 400; seed++) {
      const rnd = random(seed);
      const world = new World(rnd);
      const before = world.apply(4);
      settle(world);
      const after = world.apply(4);
      for (let steps = rnd.int(80); steps > 0; steps--) world.step(0);
      if (after.it.state.rollout.role !== "child") continue;
      after.do({ type: "pause" });
      const sizes = () => [before.it.state.rollout, after.it.state.instances.length];
      settle(world);
      const held = sizes();
      expect(after.it.state.status, `seed ${seed}`).not.toBe("failed");
      expect(after.it.state.progress_due_at).toBeNull();
      settle(world);
      expect(sizes()).toEqual(held);
      after.do({ type: "resume" });
      const undone = seed % 2 === 0 && after.it.state.rollout.role === "child";
      if (undone) after.do({ type: "undo" });
      settle(world, 0, () => assert.ok(world.ready >= 4, `seed ${seed}`));
      running(undone ? before : after, 4);
      expect(world.present).toHaveLength(1);
    }
  });

  test("of which a version is deleted midway ends with the other", () => {
    const entry = { level: "info", component: "api", reason: "deletion_requested", message: "" } as const;
    for (let seed = 1; seed <= 100; seed++) {
      const rnd = random(seed);
      const world = new World(rnd);
      const before = world.apply(3);
      settle(world);
      const after = world.apply(3);
      for (let steps = rnd.int(80); steps > 0; steps--) world.step(0);
      const [deleted, other] = seed % 2 === 0 ? [before, after] : [after, before];
      if (before.gone || after.it.state.rollout.role !== "child") continue;
      deleted.do({ type: "delete", entry });
      settle(world);
      running(other, 3);
      expect(deleted.gone, `seed ${seed}`).toBe(true);
    }
  });

  test("under crashes and lost readiness converges, and never lets go of what is needed", () => {
    let drained = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const rnd = random(seed);
      const world = new World(rnd);
      const facts: Partial<Facts> = { max_surge: rnd.int(2) + 1, max_unavailable: rnd.int(2) };
      const replicas = 1 + rnd.int(4);
      const floor = replicas - (facts.max_unavailable as number);
      world.apply(replicas, facts);
      settle(world);
      let last = world.apply(replicas, facts);
      for (let steps = 0; steps < 400; steps++) {
        const known = new Map(world.present.map((version) => [version, version.ready]));
        world.step(0.02);
        if (rnd.chance(0.003)) last = world.apply(replicas, facts);
        // Whatever the child has just promised: what it may count on is enough, as far as it has been told.
        for (const version of world.present) {
          const { rollout } = version.it.state;
          if (rollout.role !== "child" || rollout.forced) continue;
          for (const parent of rollout.parents) if (parent.keep === 0) drained++;
          const promised = rollout.parents.reduce(
            (sum, { keep, report }) =>
              sum +
              Math.min(keep ?? Number.POSITIVE_INFINITY, report?.instances.filter(({ ready }) => ready).length ?? 0),
            0,
          );
          const told = rollout.parents.reduce(
            (sum, { report }) => sum + (report?.instances.filter(({ ready }) => ready).length ?? 0),
            0,
          );
          const own = Math.max(version.ready, known.get(version) ?? 0);
          // Less than the floor only when there was no more to count on.
          if (promised < told && own + promised < floor) assert.ok(own + told >= floor, `seed ${seed}`);
        }
      }
      settle(world);
      const ends = ["running", "crash_loop_back_off", "failed"];
      expect(ends, `seed ${seed}`).toContain(last.it.state.status);
      assert.ok(world.ready >= 0, `seed ${seed}`);
    }
    expect(drained).toBeGreaterThan(100);
  });
});
