// What engines have left at their source goes with the instance, or its user is told how it goes.
import { expect, test } from "vitest";
import { SLOT } from "../../contract/instance.ts";
import { instanceVerdict } from "../../contract/instance-action.ts";
import { sourceNeed } from "../../objects/instance/source.ts";
import { Driven, GOOD_TEST, POSTGRES_TEST } from "./driven-instance.ts";

/** Terminating, with nothing left on any host. */
const emptied = (test = POSTGRES_TEST): Driven => Driven.at("terminating", test).gone();
const warnings = (one: Driven) => one.last.entries.filter(({ reason }) => reason === "left_at_source");
const STATEMENTS = [
  "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^lamplighter_inst_1_g[0-9]+$'",
  'DROP PUBLICATION IF EXISTS "lamplighter_inst_1"',
];

test("only a source that keeps something is released, and only once no engine runs", () => {
  expect(emptied(GOOD_TEST).status).toBe("terminated");
  const before = Driven.at("terminating", POSTGRES_TEST);
  expect([before.status, before.state.job]).toEqual(["terminating", null]);
  const one = before.gone();
  expect([one.status, one.runner(SLOT.release).phase, [...one.letters]]).toEqual(["terminating", "placing", ["place"]]);
  expect(sourceNeed(one.state, "read")).toEqual({ follows: false, reason: "release of read" });
  one.place().say(SLOT.release, { kind: "released", left: [] });
  expect([one.status, one.state.job, [...one.letters]]).toEqual(["terminating", null, ["withdraw"]]);
  one.gone();
  expect([one.status, one.state.source_traces, one.heard.includes("left_at_source")]).toEqual([
    "terminated",
    false,
    false,
  ]);
});

const PUBLICATION = STATEMENTS[1] as string;
const lastWord = (one: Driven, left: string[] = []): Driven => {
  const [engine] = one.state.leaving;
  if (!engine) throw new Error("no engine goes");
  return one.say(engine.slot, { kind: "released", left }, { generation: engine.generation, id: "of before" });
};

test("an engine that was paused in good order says so, and nobody else looks", () => {
  const one = lastWord(Driven.at("pausing", POSTGRES_TEST));
  expect([one.state.source_traces, one.reasons]).toEqual([false, []]);
  expect([one.gone().status, one.state.job]).toEqual(["paused", null]);
  expect([one.act("terminate").status, one.state.job]).toEqual(["terminated", null]);
  expect(one.act("provision").status).toBe("testing_connection");
});

test("a pause leaves a publication alone that its user may not drop; the termination says it", () => {
  const one = lastWord(Driven.at("pausing", POSTGRES_TEST), [PUBLICATION]).gone();
  expect([one.status, one.state.job, one.state.source_traces, one.heard.includes("left_at_source")]).toEqual([
    ...["paused", null, true, false],
  ]);
  one
    .act("terminate")
    .place()
    .say(SLOT.release, { kind: "released", left: [PUBLICATION] });
  expect(warnings(one)).toMatchObject([{ data: { statements: [PUBLICATION] } }]);
});

test("of an engine that was killed a pause takes away the same: it is paused when no slot is left", () => {
  const one = Driven.at("pausing", POSTGRES_TEST).gone();
  expect([one.status, one.runner(SLOT.release).phase]).toEqual(["pausing", "placing"]);
  one.act("resume").place();
  expect(one.state.goal?.action).toBe("resume");
  one.say(SLOT.release, { kind: "released", left: [] }).gone();
  expect([one.status, one.state.source_traces]).toEqual(["resuming", true]);
  expect(one.moves).toEqual(["pausing>paused", "paused>resuming"]);
});

test("a pause does not wait for ever for a source that is away: it says that its log is kept, and termination tries again", () => {
  const one = Driven.at("pausing", POSTGRES_TEST).gone().place().later(60_000).due();
  expect(warnings(one)).toMatchObject([{ level: "warning", data: { statements: STATEMENTS } }]);
  one.gone();
  expect([one.status, one.state.source_traces, one.state.last_error?.code]).toEqual(["paused", true, "left_at_source"]);
  expect(one.act("terminate").runner(SLOT.release).phase).toBe("placing");
});

test("the word of one engine counts for nothing while another is there", () => {
  const one = Driven.at("running", POSTGRES_TEST).act("redeploy").place().load();
  lastWord(one);
  expect([one.status, one.state.source_traces]).toEqual(["running", true]);
  const two = Driven.at("running", POSTGRES_TEST).act("redeploy").place().load().act("pause");
  expect(two.state.leaving).toHaveLength(2);
  lastWord(two).gone();
  expect(two.runner(SLOT.release).phase).toBe("placing");
});

test("an instance that only polls is never released", () => {
  const polls = new Driven();
  polls.spec.settings.sync_mode = "poll";
  polls.act("provision").place().say(SLOT.test, { kind: "tested", test: POSTGRES_TEST });
  expect(polls.state.source_traces).toBe(false);
});

test("a failed one with an engine behind it is terminated before it is deleted", () => {
  const one = Driven.at("deploying", POSTGRES_TEST).later(900_000).due().gone();
  expect([one.status, instanceVerdict("delete", one.standing)]).toMatchObject(["failed", { code: "still_running" }]);
  one.act("terminate").place().say(SLOT.release, { kind: "released", left: [] }).gone();
  expect([one.status, instanceVerdict("delete", one.standing).allowed]).toEqual(["terminated", true]);
});

test("its program may die and its host may go: it is tried again until its time is over", () => {
  const one = emptied().place();
  const first = one.runner(SLOT.release).generation;
  one.exit(SLOT.release, null);
  expect([one.status, one.runner(SLOT.release).phase]).toEqual(["terminating", "waiting"]);
  one.say(SLOT.release, { kind: "released", left: [] }, { generation: first });
  expect(one.status).toBe("terminating");
  one.later(3_000).due();
  expect(one.runner(SLOT.release)).toMatchObject({ phase: "placing", generation: first + 1 });
  one.place().see(SLOT.release, { phase: "failed", failure: { reason: "start_failed", message: "no room" } });
  one.later(3_000).due().place();
  const { generation, slot } = one.runner(SLOT.release);
  one.do({ type: "evicted", host_id: "host_a", why: "host_removed", slots: [{ slot, generation }] });
  one.place().say(SLOT.release, { kind: "released", left: [] }).gone();
  expect([one.status, one.state.last_operation?.outcome]).toEqual(["terminated", "succeeded"]);
});

test.each<[string, (one: Driven) => Driven]>([
  ["a source that is never reached", (one) => one.place().later(120_000).due()],
  ["no host", (one) => one.later(120_000).due()],
  [
    "a password that is refused",
    (one) => one.place().say(SLOT.release, { kind: "failed", code: "auth_failed", message: "no" }),
  ],
])("%s does not hold it up: it ends, and says what to run there", (_what, fails) => {
  const one = emptied();
  one.hosts = [];
  if (_what !== "no host") one.hosts = [...new Driven().hosts];
  fails(one);
  expect(warnings(one)).toMatchObject([{ level: "warning", data: { statements: STATEMENTS } }]);
  for (const statement of STATEMENTS) expect(warnings(one)[0]?.message).toContain(statement);
  one.gone();
  expect([one.status, one.state.degraded]).toEqual(["terminated", false]);
});

test("what the user of the connection may not take away is said, and nothing else", () => {
  const one = emptied().place();
  one.say(SLOT.release, { kind: "released", left: [STATEMENTS[1] as string] });
  expect(warnings(one)).toMatchObject([{ data: { statements: [STATEMENTS[1]] } }]);
  expect(one.gone().status).toBe("terminated");
});

/** An engine of PostgreSQL that could not be kept alive, and is gone from its host. */
const failed = (): Driven => {
  const one = Driven.at("running", POSTGRES_TEST);
  while (one.status === "running") one.exit(one.engineSlot(), null).next();
  return one.gone();
};

test("what has failed takes away what its engines left, once none of them runs, and rests then", () => {
  const one = failed();
  expect([one.status, one.runner(SLOT.release).phase, one.letters.has("place")]).toEqual(["failed", "placing", true]);
  expect(sourceNeed(one.state, "read")).toEqual({ follows: false, reason: "release of read" });
  one.place();
  // Of another operation, or of a clearing before this one.
  one.say(SLOT.release, { kind: "released", left: [] }, { id: "op_before" });
  expect(one.state.source_traces).toBe(true);
  one.say(SLOT.release, { kind: "released", left: [] }, { id: one.state.clearing?.id ?? "" });
  expect([one.status, one.state.job, one.state.source_traces, one.deadline]).toEqual(["failed", null, false, null]);
  expect(one.heard).not.toContain("left_at_source");
  expect(instanceVerdict("delete", one.gone().standing).allowed).toBe(true);
});

test("an engine that failed in a first rollout is cleared after too", () => {
  const one = Driven.at("deploying", POSTGRES_TEST);
  one.say(one.engineSlot(), { kind: "failed", code: "auth_failed", message: "no" });
  expect([one.status, one.state.job]).toEqual(["failed", null]);
  expect(one.gone().runner(SLOT.release).phase).toBe("placing");
  // Of such as leave nothing no program is sent.
  const other = Driven.at("deploying", GOOD_TEST);
  other.say(other.engineSlot(), { kind: "failed", code: "auth_failed", message: "no" });
  expect([other.gone().status, other.state.job]).toEqual(["failed", null]);
});

test("a source that is away holds up nothing: it is said what may be left, and any action goes on from there", () => {
  const one = failed().place();
  const { last_error } = one.state;
  one.exit(SLOT.release, 1).next();
  expect(one.runner(SLOT.release).phase).toBe("running");
  one.later(120_000).due();
  expect(warnings(one)).toMatchObject([{ level: "warning", data: { statements: STATEMENTS } }]);
  expect([one.status, one.state.job, one.state.source_traces, one.state.last_error]).toEqual([
    ...["failed", null, true, last_error],
  ]);
  expect([one.gone().deadline, one.act("terminate").runner(SLOT.release).phase]).toEqual([null, "placing"]);

  const two = failed().place();
  two.act("provision").place();
  expect([two.status, two.state.clearing, two.state.leaving.map(({ slot }) => slot)]).toEqual([
    ...["testing_connection", null, [SLOT.release]],
  ]);
});
