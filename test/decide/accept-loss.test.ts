// The word that starts a database without commits that it acknowledged: taken only where they are known to be lost.
import { describe, expect, test } from "vitest";
import { decide as climb, type Kept, type StartFacts } from "../../agent/postgres/ladder.ts";
import type { DatabaseState } from "../../contract/database-state.ts";
import { fail } from "../../objects/database/boot.ts";
import { decide, initial } from "../../objects/database/decide.ts";
import { commonOf, type DatabaseFacts, type Draft } from "../../objects/database/draft.ts";
import { acceptLossAction } from "../../objects/database/loss.ts";

const facts: DatabaseFacts = {
  ...{ now: 1_000_000, jitter: 0, profile: "L1", idle_ms: 5_000, prepared: true, kept: true },
  ...{ credential: "c", reader: null },
  demand: { leases: [], last_active_at: 0 },
  prepared: true,
};
const common = { ...commonOf(initial(facts).state), term: 4, served_term: 3, home: "one", copies: ["one"] };
const failed = (code: string, over: Partial<typeof common> = {}): DatabaseState => ({
  ...{ ...common, ...over, status: "error", since: facts.now, code, message: "", retry_at: facts.now + 30_000 },
});

describe("accept_loss", () => {
  test.each([
    ["not_restorable", {}, true],
    ["not_restorable", { served_term: 0 }, false],
    ["keepers_unreachable", {}, false],
    ["no_host", {}, false],
    ["failed", {}, false],
    ["not_prepared", {}, false],
  ] as const)("after %s with %j: %s", (code, over, allowed) => {
    const state = failed(code, over);
    expect(acceptLossAction(state).accept_loss?.allowed ?? true).toBe(allowed);
    const { state: next, entries } = decide(state, { type: "accept_loss" }, facts);
    expect([next.accept_loss, entries.map(({ reason }) => reason)]).toEqual([
      allowed,
      allowed ? ["loss_accepted"] : [],
    ]);
  });

  test.each([
    ["not_restorable", true],
    ["keepers_unreachable", false],
    ["no_host", false],
  ])("does not outlast a failure of another kind: %s", (code, stays) => {
    const wake = { at: facts.now, cause: "connection" as const, gateway: null, client: null };
    const accepted = decide(failed("not_restorable"), { type: "accept_loss" }, facts).state;
    const booting = decide(accepted, { type: "wake", wake }, facts).state;
    expect([booting.status, booting.accept_loss]).toEqual(["booting", true]);
    const draft: Draft = { facts, state: booting, entries: [], said: [] };
    fail(draft, code, "why", false);
    expect([draft.state.status, draft.state.accept_loss]).toEqual(["error", stays]);
  });

  test("does not give up what a keeper that is away may have", () => {
    const kept: Kept = {
      ...{ promisedTerm: 5, writerTerm: 2, systemIdentifier: "1", timeline: 1, flush: 9n },
      ...{ restorable: true, baseBytes: 1, forgotten: "by some" },
    };
    const start: StartFacts = {
      ...{ term: 5, fence: 4, servedTerm: 3, acceptLoss: true, runningTerm: null, local: null, kept },
      ...{ localDiverged: false, driver: "process" },
    };
    expect(climb(start)).toMatchObject({ do: "refuse", code: "keepers_unreachable" });
    expect(climb({ ...start, kept: { ...kept, forgotten: "by all" } })).toMatchObject({ do: "restore" });
    expect(climb({ ...start, acceptLoss: false, kept: { ...kept, forgotten: "by all" } })).toMatchObject({
      ...{ do: "refuse", code: "not_restorable" },
    });
  });
});
