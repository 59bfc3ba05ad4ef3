import { type Runner, SLOT } from "../../contract/instance.ts";
import { failureOf } from "../../contract/instance-failure.ts";
import { STATUS_DEADLINE_MS } from "../../contract/instance-status.ts";
import { publicationRemoval, removalStatements } from "../../contract/source-traces.ts";
import { note } from "../note.ts";
import { type Draft, leave, newRunner, replaceRunner } from "./draft.ts";

/**
 * Taking away what engines have left at their source, once none of them runs any more: the last thing that pausing and terminating do, and the first
 * of what has failed or was stopped. There nobody waits for it.
 */

/** It is tried for so long, ms. A source that is gone for good holds nothing up for longer. */
const RELEASE_MS = { pausing: 60_000, terminating: 120_000, clearing: 120_000 } as const;
const TRY_AGAIN_MS = 3_000;

/** Sends a program to do it, if there is something to take away. Answers whether that is waited for. */
export function release(draft: Draft): boolean {
  const { operation, job, facts, status } = draft;
  if (status !== "pausing" && status !== "terminating") return false;
  if (draft.source_traces !== true || operation === null || operation.source_released) return false;
  if (job !== null) return true;
  draft.job = newRunner(draft, SLOT.release);
  draft.operation = {
    ...operation,
    due_at: facts.now + RELEASE_MS[status],
    message: "taking away what engines have left at the source",
  };
  return true;
}

/** Nothing of what failed or was stopped runs any more. */
export function clear(draft: Draft): void {
  const { clearing, facts } = draft;
  if (clearing === null || clearing.until !== null || draft.job !== null) return;
  draft.job = newRunner(draft, SLOT.release);
  draft.clearing = { ...clearing, until: facts.now + RELEASE_MS.clearing };
}

/** Something else is to be done with it, which takes away the same, or needs it. */
export function leaveUncleared(draft: Draft): void {
  if (draft.clearing === null) return;
  leave(draft, draft.job);
  draft.job = null;
  draft.clearing = null;
}

/** It is done. @param left what the user of the connection may not take away */
export function released(draft: Draft, left: readonly string[]): void {
  const why = "the user of the connection may not take it away";
  if (draft.status === "pausing" || draft.clearing !== null) withoutSlots(draft, left, why);
  else if (left.length > 0) warn(draft, why, left);
  end(draft);
}

/** An engine that goes has taken away what it had made, and found no slot of others. That holds when no other is there. */
export function releasedByItself(draft: Draft, { slot, generation }: Going, left: readonly string[]): void {
  const isOther = (one: Going): boolean =>
    ENGINES.includes(one.slot) && !(one.slot === slot && one.generation === generation);
  if (draft.serving !== null || draft.candidate !== null || draft.leaving.some(isOther)) return;
  if (draft.status === "pausing") withoutSlots(draft, left, "");
  else if (left.length === 0 && draft.source_traces === true) draft.source_traces = false;
}

type Going = { slot: number; generation: number };
const ENGINES: readonly number[] = SLOT.engines;

/** While it rests a publication harms nobody, and is what its next engine takes: a termination says what there is to say of it. */
function withoutSlots(draft: Draft, left: readonly string[], why: string): void {
  const slots = left.filter((statement) => statement !== publicationRemoval(draft.facts.instance_id));
  if (slots.length > 0) warn(draft, why, slots);
  if (left.length === 0 && draft.source_traces === true) draft.source_traces = false;
  if (draft.operation) draft.operation = { ...draft.operation, source_released: true };
}

/** What may be there stays; whoever administers the source is told how it goes. A termination tries it again, as does the next engine. */
export function giveUpRelease(draft: Draft, why: string): void {
  warn(draft, why, removalStatements(draft.facts.instance_id));
  if (draft.operation && draft.status === "pausing") draft.operation = { ...draft.operation, source_released: true };
  end(draft);
}

/** Its program is gone and said nothing. It is tried again until its time is over. */
export function releaseAgain(draft: Draft, runner: Exclude<Runner, { phase: "placing" }>, why: string): void {
  const { slot, generation, since, host_id } = runner;
  const retry_at = draft.facts.now + TRY_AGAIN_MS;
  replaceRunner(draft, { slot, generation, since, phase: "waiting", host_id, retry_at, message: why });
  if (draft.operation) draft.operation = { ...draft.operation, message: why };
}

function warn(draft: Draft, why: string, statements: readonly string[]): void {
  const keeps = draft.status !== "terminating" ? ", which keeps its log for it meanwhile" : "";
  const message = `something of it may be left at its source${keeps}, as ${why}; there, run: ${statements.join("; ")}`;
  note(draft, "warning", "scheduler", "left_at_source", message, { statements });
  if (draft.status === "pausing") draft.last_error = failureOf("left_at_source", message, draft.facts.now);
}

function end(draft: Draft): void {
  leave(draft, draft.job);
  draft.job = null;
  draft.clearing = null;
  if (draft.status === "terminating") draft.source_traces = false;
  if (draft.operation)
    draft.operation = { ...draft.operation, due_at: draft.facts.now + STATUS_DEADLINE_MS.terminating, message: "" };
}
