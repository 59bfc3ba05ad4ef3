import { type Engine, type Runner, SLOT } from "../../contract/instance.ts";
import { isFinal } from "../../contract/source-error.ts";
import type { Exit, Observation } from "../../contract/workload.ts";
import { note } from "../note.ts";
import { become, type Draft, fail, leave, newRunner, replaceRunner, runnerAt, runnersOf } from "./draft.ts";
import { releaseAgain } from "./release.ts";

/** What hosts see of an instance's workloads, and what becomes of an engine that dies. */

export type Seen = { slot: number; generation: number; observation: Observation };

/** A test or build that has ended is given so long for its report to arrive, ms. */
const GRACE_MS = 15_000;
/** An engine that died out of memory while it was rolled out waits for so long: that is when resize rescues it, ms. */
const RESCUE_MS = 300_000;
/** With which an engine ends that saw by itself that it has no more memory. */
const OUT_OF_MEMORY = 137;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** One that served for so long has not died "again", ms. */
const STEADY_MS = 600_000;
const DEATHS_OF_CANDIDATE = 3;
const DEATHS_OF_SERVING = 6;

export function onSeen(draft: Draft, hostId: string, { slot, generation, observation }: Seen): void {
  if (observation.phase === "gone") {
    draft.leaving = draft.leaving.filter(
      (one) => !(one.slot === slot && one.generation === generation && one.host_id === hostId),
    );
  }
  const runner = runnerAt(draft, slot, generation);
  if (runner === null || runner.phase === "placing" || runner.host_id !== hostId) return;
  switch (observation.phase) {
    case "preparing":
    case "stopping":
      return;
    case "running": {
      if (runner.phase !== "offered" && runner.phase !== "starting" && runner.phase !== "running") return;
      const { address, ports = [] } = observation;
      const { since } = runner;
      replaceRunner(draft, { slot, generation, since, phase: "running", host_id: hostId, address, ports });
      return;
    }
    case "exited":
      ended(draft, runner, observation.exit);
      return;
    case "failed":
      lost(draft, runner, observation.failure.message);
      return;
    case "gone":
      lost(draft, runner, "its host has nothing of it any more");
      return;
  }
}

type Housed = Exclude<Runner, { phase: "placing" }>;

function ended(draft: Draft, runner: Housed, exit: Exit): void {
  if (runner.phase === "ended" || runner.phase === "waiting") return;
  const { slot, generation, since, host_id } = runner;
  if (slot === SLOT.release) {
    releaseAgain(draft, runner, `it ended with ${endOf(exit)}`);
    return;
  }
  if (draft.job?.slot === slot) {
    const give_up_at = draft.facts.now + GRACE_MS;
    replaceRunner(draft, { slot, generation, since, phase: "ended", host_id, exit, give_up_at });
    return;
  }
  if (exit.oom || exit.code === OUT_OF_MEMORY) {
    die(draft, runner, "oom", oomText(draft, slot), exit);
    return;
  }
  die(draft, runner, "engine_died", `the engine ended with ${endOf(exit)}`, exit);
}

function lost(draft: Draft, runner: Housed, message: string): void {
  if (runner.phase === "ended" || runner.phase === "waiting") return;
  if (runner.slot === SLOT.release) {
    releaseAgain(draft, runner, message);
    return;
  }
  if (draft.job?.slot === runner.slot) {
    fail(draft, draft.status === "building" ? "builder_died" : "other", message);
    return;
  }
  die(draft, runner, "engine_died", message, null);
}

/** It says itself why it ends. That its host sees the end too changes nothing. */
export function engineFailed(draft: Draft, { slot, generation }: Of, { code, message }: Reason): void {
  const runner = runnerAt(draft, slot, generation);
  if (runner !== null && runner.phase !== "placing") die(draft, runner, code, message, null);
}
type Of = { slot: number; generation: number };
type Reason = { code: string; message: string };

const engineOf = (draft: Draft, slot: number): Engine | null =>
  [draft.serving, draft.candidate].find((engine) => engine?.runner.slot === slot) ?? null;

function oomText(draft: Draft, slot: number): string {
  const size = engineOf(draft, slot)?.settings.size ?? draft.facts.spec.settings.size;
  return `out of memory at size ${size}: resize it to a larger one`;
}

export const endOf = (exit: Exit): string =>
  exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;

/** An engine is not there any more. */
function die(draft: Draft, runner: Housed, code: string, message: string, exit: Exit | null): void {
  const engine = engineOf(draft, runner.slot);
  if (engine === null) return;
  const { now } = draft.facts;
  const isServing = draft.serving?.runner.slot === runner.slot;
  if (isServing && exit?.code === 0) {
    shutDown(draft);
    return;
  }
  const isSteady = engine.loaded !== null && now - engine.loaded.at > STEADY_MS;
  const deaths = isSteady ? 1 : engine.deaths + 1;
  note(draft, "error", "engine", "engine_died", message, { code, deaths, serving: isServing });
  const trouble = { code, message };
  const { slot, generation, since, host_id } = runner;
  // A load that does not fit would be the whole source read in vain, and another size starts another engine.
  const isInVain = isFinal(code) || (code === "oom" && engine.loaded === null);
  const wait = Math.min(FIRST_PAUSE_MS * 2 ** (deaths - 1), LONGEST_PAUSE_MS);
  const retry_at = isInVain ? now + 2 * RESCUE_MS : now + Math.round(wait * (0.75 + draft.facts.jitter / 2));
  const waiting: Runner = { slot, generation, since, phase: "waiting", host_id, retry_at, message };
  const next: Engine = { ...engine, runner: waiting, loaded: null, deaths, trouble };
  if (isServing) {
    draft.serving = next;
    draft.replication = null;
    if (isInVain || deaths >= DEATHS_OF_SERVING) giveUp(draft, code, message);
    return;
  }
  draft.candidate = next;
  if (code === "oom" && draft.operation)
    draft.operation = { ...draft.operation, due_at: Math.min(draft.operation.due_at, now + RESCUE_MS), message };
  else if (isInVain || deaths >= DEATHS_OF_CANDIDATE) fail(draft, code, message);
}

/** The engine that served has died too often. A rollout under way may still bring another. */
function giveUp(draft: Draft, code: string, message: string): void {
  leave(draft, draft.serving?.runner ?? null, true);
  draft.serving = null;
  if (draft.status === "running") fail(draft, code, message);
}

/** It ended by itself and well, which nobody here had asked for: whoever shut it down on its host meant it. */
function shutDown(draft: Draft): void {
  note(draft, "warning", "engine", "engine_stopped", "the engine was shut down on its host");
  leave(draft, draft.serving?.runner ?? null);
  draft.serving = null;
  draft.replication = null;
  if (draft.status === "running") become(draft, "stopped");
}

/** Times that have come for workloads. */
export function onTimes(draft: Draft): void {
  const { now } = draft.facts;
  const { job } = draft;
  if (job?.phase === "ended" && job.give_up_at <= now) {
    const code = draft.status === "building" ? (job.exit.oom ? "oom" : "builder_died") : "other";
    const what = draft.status === "building" ? "the build" : "the test of the source";
    fail(draft, code, `${what} ended with ${endOf(job.exit)} and said nothing`);
  }
  for (const runner of runnersOf(draft)) {
    if (runner.phase !== "waiting" || runner.retry_at > now) continue;
    leave(draft, runner);
    replaceRunner(draft, newRunner(draft, runner.slot));
  }
}
