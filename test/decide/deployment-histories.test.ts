import assert from "node:assert/strict";
import { describe, expect, test } from "vitest";
import {
  DEPLOYMENT_NEXT,
  DEPLOYMENT_STATUSES,
  isPassing,
  isTerminal,
  DeploymentState as Schema,
} from "../../contract/deployment.ts";
import type { Observation } from "../../contract/workload.ts";
import type { Event } from "../../objects/deployment/decide.ts";
import { deadlineOf, isGone } from "../../objects/deployment/letters.ts";
import { random } from "../random.ts";
import { Driven, defaults, exit, GIB, host } from "./driven-deployment.ts";

describe("random histories", () => {
  const EVENTS = 120_000;
  test(`${EVENTS} events: only listed edges, generations rise, no passing status without a deadline, terminal stays terminal`, () => {
    const taken = new Set<string>();
    let events = 0;
    for (let seed = 1; events < EVENTS; seed++) {
      const rnd = random(seed);
      const it = new Driven(rnd.pick(["worker", "job"]), rnd.int(3) || 1, rnd.pick([0, 6 * GIB]));
      const drawn = new Set<number>();
      for (let step = 0; step < 120; step++, events++) {
        const before = it.state;
        const generation = it.generation;
        it.now += rnd.int(20_000);
        it.do(randomEvent(it, rnd));
        const context = `seed ${seed} step ${step}: ${before.status} -> ${it.state.status}`;
        let from = before.status;
        for (const [old, next] of it.moves) {
          assert.equal(old, from, context);
          assert.ok((DEPLOYMENT_NEXT[from] as readonly string[]).includes(next), context);
          taken.add(`${from} -> ${next}`);
          from = next;
        }
        // Of `expect` a million of them take longer than all that they look at.
        assert.equal(from, it.state.status, context);
        assert.ok(it.generation >= generation, context);
        assert.ok(Schema.safeParse(it.state).success, context);
        if (isTerminal(before.status)) assert.ok([before.status, "deleted"].includes(it.state.status), context);
        if (isPassing(it.state.status) && !isGone(it.state)) assert.notEqual(deadlineOf(it.state), null, context);
        for (const instance of it.state.instances) {
          if (instance.phase === "placing") drawn.add(instance.generation);
          assert.equal(it.state.instances.filter((other) => other.slot === instance.slot).length, 1, context);
          const twice = it.state.leaving.some((l) => l.slot === instance.slot && l.generation === instance.generation);
          assert.equal(twice, false, `${context}: generation both here and leaving`);
        }
        assert.ok(it.state.restart_count <= 5, context);
        if (isGone(it.state)) break;
      }
    }
    const listed = DEPLOYMENT_STATUSES.flatMap((from) => DEPLOYMENT_NEXT[from].map((to) => `${from} -> ${to}`));
    expect(listed.filter((edge) => !taken.has(edge))).toEqual([]);
  }, 60_000);
});

function randomEvent(it: Driven, rnd: ReturnType<typeof random>): Event {
  const small = rnd.chance(0.02);
  const hosts = ["a", "b"].map((id) =>
    host(id, {
      status: rnd.chance(0.8) ? "ready" : "unreachable",
      scheduling: rnd.chance(0.9) ? "open" : "cordoned",
      capacity: { memory_bytes: (small ? 4 : 8) * GIB, cpu_millis: 4000 },
      reserved: { memory_bytes: rnd.chance(0.9) ? 0 : 4 * GIB, cpu_millis: 0 },
    }),
  );
  const instance =
    it.state.instances.length > 0
      ? rnd.pick(it.state.instances)
      : { slot: 0, generation: 1, phase: "placing" as const };
  const host_id = "host_id" in instance ? instance.host_id : "a";
  const at = { slot: instance.slot, generation: Math.max(1, instance.generation - (rnd.chance(0.1) ? 1 : 0)) };
  const seen = { id: `w-${at.slot}`, generation: at.generation, at: it.now };
  // Half of the time what is waited for comes; the other half anything may.
  const expected = { placing: 1, offered: 2, starting: 4, running: 4, waiting: 9, exited: 0 }[instance.phase];
  switch (rnd.chance(0.6) ? expected : rnd.int(10)) {
    case 0:
      return rnd.chance(0.1)
        ? { type: "delete", entry: { level: "info", component: "api", reason: "deletion_requested", message: "" } }
        : { type: "capacity" };
    case 1:
      return { type: "hosts", hosts };
    case 2:
    case 3:
      if (rnd.chance(0.05)) return { type: "unresolved", message: "secret 's' is missing", slots: [at] };
      return {
        type: "answered",
        host_id,
        answers: [rnd.chance(0.8) ? { ...at, accepted: true } : { ...at, accepted: false, message: "is full" }],
      };
    case 4:
    case 5: {
      const phase = rnd.pick(["preparing", "running", "running", "exited", "failed", "gone", "stopping"] as const);
      const details = {
        ...defaults[phase],
        ...(phase === "exited" ? { exit: exit({ code: rnd.pick([0, 1, null]) }) } : {}),
        ...(phase === "failed"
          ? {
              failure: {
                kind: rnd.pick([
                  "image_pull_back_off",
                  "create_container_error",
                  "network_error",
                  "config_error",
                  "file_system_error",
                  "error",
                ]),
                reason: "x",
                message: "x",
              },
            }
          : {}),
      };
      return {
        type: "observed",
        host_id,
        reports: [{ ...at, observation: { ...seen, phase, ...details } as Observation }],
      };
    }
    case 6:
      return rnd.chance(0.3)
        ? { type: "evicted", host_id, why: rnd.pick(["host_lost", "host_draining", "host_removed"]), slots: [at] }
        : { type: "reapplied" };
    case 7: {
      const leaving = rnd.pick(it.state.leaving.length > 0 ? it.state.leaving : [{ ...at, host_id, serving: false }]);
      const observation: Observation = { phase: "gone", id: "w", generation: leaving.generation, at: it.now };
      return {
        type: "observed",
        host_id: leaving.host_id,
        reports: [{ slot: leaving.slot, generation: leaving.generation, observation }],
      };
    }
    default: {
      if (rnd.chance(0.1)) return { type: "resolvable" };
      const deadline = deadlineOf(it.state);
      if (deadline !== null) it.now = Math.max(it.now, deadline);
      return { type: "due" };
    }
  }
}
