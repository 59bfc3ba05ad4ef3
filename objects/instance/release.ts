import { type Runner, SLOT } from "../../contract/instance.ts";
import { STATUS_DEADLINE_MS } from "../../contract/instance-status.ts";
import { removalStatements } from "../../contract/source-traces.ts";
import { note } from "../note.ts";
import { type Draft, leave, newRunner, replaceRunner } from "./draft.ts";

/** Taking away what engines have left at their source: the last thing that terminating does, once none of them runs any more. */

/** It is tried for so long, ms. A source that is gone for good holds no termination up for longer. */
const RELEASE_MS = 120_000;
const TRY_AGAIN_MS = 3_000;

/** Sends a program to do it, if there is something to take away. Answers whether that is waited for. */
export function release(draft: Draft): boolean {
  const { operation, job, facts } = draft;
  if (draft.source_traces !== true || operation === null) return false;
  if (job !== null) return true;
  draft.job = newRunner(draft, SLOT.release);
  draft.operation = {
    ...operation,
    due_at: facts.now + RELEASE_MS,
    message: "taking away what engines have left at the source",
  };
  return true;
}

/** It is done. @param left what the user of the connection may not take away */
export function released(draft: Draft, left: readonly string[]): void {
  if (left.length > 0) warn(draft, "the user of the connection may not take it away", left);
  end(draft);
}

/** What may be there stays; whoever administers the source is told how it goes. */
export function giveUpRelease(draft: Draft, why: string): void {
  warn(draft, why, removalStatements(draft.facts.instance_id));
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
  const message = `something of it may be left at its source, as ${why}; there, run: ${statements.join("; ")}`;
  note(draft, "warning", "scheduler", "left_at_source", message, { statements });
}

function end(draft: Draft): void {
  leave(draft, draft.job);
  draft.job = null;
  draft.source_traces = false;
  if (draft.operation)
    draft.operation = { ...draft.operation, due_at: draft.facts.now + STATUS_DEADLINE_MS.terminating, message: "" };
}
