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

test("an instance that was paused is released when it is terminated, and one that only polls never is", () => {
  const paused = Driven.at("paused", POSTGRES_TEST).act("terminate");
  expect([paused.status, paused.runner(SLOT.release).phase]).toEqual(["terminating", "placing"]);
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
