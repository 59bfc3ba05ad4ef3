import assert from "node:assert/strict";
import { describe, expect, test } from "vitest";
import { HOST_NEXT, HOST_STATUSES } from "../../contract/host.ts";
import {
  decideHost,
  type HostEvent,
  HostState,
  hostDeadline,
  joining,
  SILENT_AFTER_MS,
} from "../../objects/host/decide.ts";
import { random } from "../random.ts";

const T0 = Date.UTC(2100, 0, 1);
const LOST_AFTER = 60_000;

const next = (state: HostState, event: HostEvent, now: number) =>
  decideHost(state, event, { now, lost_after: LOST_AFTER }).state;
const hello = (now = T0) => next(joining(), { type: "hello", boot_id: "b1" }, now);
const ready = (now = T0) => next(hello(now), { type: "settled" }, now);
const unreachable = (now = T0) => next(ready(now), { type: "closed" }, now);

describe("a host", () => {
  test("joins, syncs, and is ready once nothing stale is left", () => {
    expect(joining().status).toBe("joining");
    expect(hello().status).toBe("syncing");
    expect(ready().status).toBe("ready");
  });

  test("whose connection is closed is unreachable, and lost a minute later", () => {
    const state = unreachable();
    expect(state).toMatchObject({ status: "unreachable", lost_at: T0 + LOST_AFTER });
    const due: HostEvent = { type: "due", due_at: T0 + LOST_AFTER, last_seen: 0 };
    const lost = decideHost(state, due, { now: T0 + LOST_AFTER, lost_after: LOST_AFTER });
    expect(lost).toMatchObject({ state: { status: "lost" }, evict: true });
  });

  test("that is heard stays ready, one that is silent becomes unreachable", () => {
    const at = T0 + SILENT_AFTER_MS;
    expect(next(ready(), { type: "due", due_at: at, last_seen: at - 9000 }, at)).toMatchObject({
      status: "ready",
      check_at: at - 9000 + SILENT_AFTER_MS,
    });
    expect(next(ready(), { type: "due", due_at: at, last_seen: T0 - 1 }, at).status).toBe("unreachable");
  });

  test("is not judged for a time in which nobody listened", () => {
    // The control plane was down for an hour: its deadlines come late, and the agents have not had the time to dial again.
    const hour = T0 + 3_600_000;
    expect(next(ready(), { type: "due", due_at: T0 + SILENT_AFTER_MS, last_seen: 0 }, hour)).toMatchObject({
      status: "ready",
      check_at: hour + SILENT_AFTER_MS,
    });
    expect(next(unreachable(), { type: "due", due_at: T0 + LOST_AFTER, last_seen: 0 }, hour)).toMatchObject({
      status: "unreachable",
      lost_at: hour + LOST_AFTER,
    });
  });

  test("that comes back syncs first, from every silence", () => {
    const lost = next(unreachable(), { type: "due", due_at: T0 + LOST_AFTER, last_seen: 0 }, T0 + LOST_AFTER);
    for (const state of [unreachable(), lost, ready()])
      expect(next(state, { type: "hello", boot_id: "b2" }, T0).status).toBe("syncing");
  });

  test("that drains tells its owners; cordon and uncordon do not", () => {
    const facts = { now: T0, lost_after: LOST_AFTER };
    expect(decideHost(ready(), { type: "scheduling", to: "draining" }, facts).evict).toBe(true);
    expect(decideHost(ready(), { type: "scheduling", to: "cordoned" }, facts).evict).toBe(false);
    expect(decideHost(ready(), { type: "scheduling", to: "open" }, facts).entries).toEqual([]);
  });

  test("that was removed stays removed", () => {
    const removed = next(ready(), { type: "removed" }, T0);
    expect(removed.status).toBe("removed");
    for (const event of [
      { type: "hello", boot_id: "b" },
      { type: "settled" },
      { type: "closed" },
      { type: "scheduling", to: "open" },
    ] as HostEvent[]) {
      expect(next(removed, event, T0)).toBe(removed);
    }
  });
});

test("100,000 random events: only listed edges, every edge, a deadline in every status that waits", () => {
  const taken = new Set<string>();
  for (let seed = 1; seed <= 2000; seed++) {
    const rnd = random(seed);
    let state = joining();
    let now = T0;
    for (let step = 0; step < 50; step++) {
      now += rnd.int(30_000);
      const deadline = hostDeadline(state);
      const event = rnd.pick<HostEvent>([
        { type: "hello", boot_id: `b${step}` },
        { type: "settled" },
        { type: "closed" },
        { type: "scheduling", to: rnd.pick(["open", "cordoned", "draining"]) },
        { type: "due", due_at: deadline ?? now, last_seen: now - rnd.int(60_000) },
        rnd.chance(0.02) ? { type: "removed" } : { type: "closed" },
      ]);
      if (event.type === "due" && deadline !== null && rnd.chance(0.7)) now = Math.max(now, deadline);
      const before = state;
      const decision = decideHost(
        state,
        event.type === "due" ? { ...event, due_at: rnd.chance(0.8) ? now : event.due_at } : event,
        { now, lost_after: LOST_AFTER },
      );
      state = decision.state;
      if (before.status !== state.status) {
        assert.ok((HOST_NEXT[before.status] as readonly string[]).includes(state.status));
        assert.deepEqual(
          decision.entries.map(({ data }) => data?.new_status),
          [state.status],
        );
        taken.add(`${before.status} -> ${state.status}`);
      }
      assert.ok(HostState.safeParse(state).success);
      if (["syncing", "ready", "unreachable"].includes(state.status)) assert.notEqual(hostDeadline(state), null);
    }
  }
  const listed = HOST_STATUSES.flatMap((from) => HOST_NEXT[from].map((to) => `${from} -> ${to}`));
  expect(listed.filter((edge) => !taken.has(edge))).toEqual([]);
}, 30_000);
