// What a start tells: those who wait hear how far it is, and later ones since when copies can be made.
import { describe, expect, test } from "vitest";
import type { DatabaseState } from "../../contract/database-state.ts";
import { type DatabaseEvent, decide, initial } from "../../objects/database/decide.ts";
import { commonOf, type DatabaseFacts } from "../../objects/database/draft.ts";
import { candidate, Host, upOn } from "./database-parts.ts";

const facts: DatabaseFacts = {
  ...{ now: 1_000_000, jitter: 0, profile: "L1", idle_ms: 5_000, prepared: true, kept: true },
  ...{ credential: "c", reader: null },
  demand: { leases: [], last_active_at: 0 },
  prepared: true,
};
const wake: DatabaseEvent = {
  type: "wake",
  wake: { at: facts.now, cause: "connection", gateway: "g", client: null },
};
const asleep = (over: Partial<DatabaseState> = {}): DatabaseState =>
  ({
    ...commonOf(initial(facts).state),
    home: "a",
    copies: ["a"],
    ...over,
    status: "stopped",
    since: 0,
  }) as DatabaseState;
const seen = (term: number, since?: number): DatabaseEvent => {
  const up = upOn("a", term, facts.now, 0);
  if (up.phase !== "running" || up.start === undefined) throw new Error("it runs");
  const start = since === undefined ? up.start : { ...up.start, restorable_since: since };
  return { type: "observed", host_id: "a", term, observation: { ...up, start } };
};

describe("those who wait", () => {
  test("are told that PostgreSQL is starting, and then what its agent says, each once", () => {
    const woken = decide(asleep(), wake, facts);
    expect(woken.said.map(({ frame }) => ("phase" in frame ? frame.phase : frame.kind))).toEqual([
      "placing",
      "starting",
    ]);
    const { term } = woken.state;
    const message = "restoring from a keeper: 12 of 58 MiB";
    const head = { id: "w", generation: term, at: facts.now };
    const preparing: DatabaseEvent = {
      ...{ type: "observed", host_id: "a", term },
      observation: { ...head, phase: "preparing", message },
    };
    const told = decide(woken.state, preparing, facts);
    expect(told.said.map(({ frame }) => frame)).toEqual([{ kind: "waking", phase: "starting", message }]);
    expect(decide(told.state, preparing, facts).said).toEqual([]);
  });
});

describe("restorable_since", () => {
  test("is what the writer's host says, also before clients are let in, and stays when it sleeps", () => {
    const booting = decide(asleep({ restorable_since: 5 }), wake, facts).state;
    expect(booting.restorable_since).toBe(5);
    const ready = decide(booting, seen(booting.term), facts).state;
    expect([ready.status, ready.restorable_since]).toEqual(["ready", 5]);
    const later = decide(ready, seen(booting.term, 7), facts).state;
    expect([later.status, later.restorable_since]).toEqual(["ready", 7]);
    const early = decide(booting, seen(booting.term, 9), facts).state;
    expect([early.status, early.restorable_since]).toEqual(["ready", 9]);
    expect(decide(later, seen(booting.term - 1, 11), facts).state.restorable_since).toBe(7);
    const lost = decide(later, { type: "evicted", host_id: "a", term: booting.term, why: "host_lost" }, facts).state;
    expect([lost.status, lost.restorable_since]).toEqual(["stopped", 7]);
  });
});

describe("a host without the version of PostgreSQL that made it", () => {
  const at = (ids: string[]): DatabaseEvent => ({
    ...{ type: "hosts", labels: {} },
    hosts: ids.map((id) => candidate(new Host(id))),
  });
  const refused = (host_id: string, term: number): DatabaseEvent => {
    const failure = { kind: "error" as const, reason: "wrong_version", message: "it was made by PostgreSQL 15" };
    const observation = { id: "w", generation: term, at: facts.now, phase: "failed" as const, failure };
    return { type: "observed", host_id, term, observation };
  };
  const onHost = (state: DatabaseState): string | null =>
    state.status === "booting" && "host_id" in state.step ? state.step.host_id : null;

  test("another is asked at once, which is no failed attempt; it is not asked again for this wake", () => {
    let { state } = decide(asleep({ served_term: 1 }), wake, facts);
    for (const id of ["a", "b", "c"]) {
      expect(onHost(state)).toBe(id);
      state = decide(state, refused(id, state.term), facts).state;
      expect(state).toMatchObject({ status: "booting", step: { name: "placing" }, attempt: 1 });
      state = decide(state, at(["a", "b", "c", "d"]), facts).state;
    }
    expect(onHost(state)).toBe("d");
  });

  test("where no other is left, those who wait are told so at once", () => {
    let { state } = decide(asleep({ served_term: 1 }), wake, facts);
    state = decide(state, refused("a", state.term), facts).state;
    const over = decide(state, at(["a"]), facts).state;
    expect(over).toMatchObject({ status: "error", code: "no_host" });
    expect(over.status === "error" && over.message).toContain("a cannot open it");
    expect(over.status === "error" && over.message).toContain("made by PostgreSQL 15");
    // A version may have been installed meanwhile.
    expect(onHost(decide(over, wake, { ...facts, now: facts.now + 60_000 }).state)).toBe("a");
  });
});
