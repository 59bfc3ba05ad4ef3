import { type DeploymentState, type Instance, isTerminal } from "../../contract/deployment.ts";
import type { Event } from "./decide.ts";

/** Whom the object has something to say to. What is said is read from the state when the letter is sent. */
export type LetterKey = "place" | "offer" | "ask" | "withdraw";

/**
 * What must be said because of a change: a phase that is new to a slot is told to whom it concerns, and when a deadline was over it is told
 * again.
 */
export function lettersFor(
  before: DeploymentState | null,
  after: DeploymentState,
  event: Event["type"] | "created",
): Set<LetterKey> {
  const keys = new Set<LetterKey>();
  const old = new Map(before?.instances.map((instance) => [instance.slot, instance]));
  for (const instance of after.instances) {
    const was = old.get(instance.slot);
    const fresh = was?.phase !== instance.phase || was.generation !== instance.generation;
    const overdue = !fresh && event === "due" && deadlineOfInstance(was as Instance) !== deadlineOfInstance(instance);
    if (instance.phase === "placing" && (fresh || overdue || event === "capacity")) keys.add("place");
    if (instance.phase === "offered" && (fresh || overdue)) keys.add("offer");
    if (instance.phase === "starting" && overdue) keys.add("ask");
  }
  const going = (state: DeploymentState) => state.leaving.filter(({ serving }) => !serving);
  const known = new Set(before ? going(before).map(({ slot, generation }) => `${slot}/${generation}`) : []);
  const repeat = event === "due" && after.status === "deleted";
  if (going(after).some(({ slot, generation }) => repeat || !known.has(`${slot}/${generation}`))) keys.add("withdraw");
  return keys;
}

/** When the state wants to be looked at again if nothing is heard, ms since 1970; null for a resting deployment. */
export function deadlineOf(state: DeploymentState): number | null {
  if (state.status === "deleted") return state.leaving.length > 0 ? state.ask_at : null;
  if (isTerminal(state.status)) return null;
  const deadlines = state.instances.flatMap((instance) => deadlineOfInstance(instance) ?? []);
  return deadlines.length > 0 ? Math.min(...deadlines) : null;
}

function deadlineOfInstance(instance: Instance): number | null {
  switch (instance.phase) {
    case "placing":
      return instance.recheck_at;
    case "offered":
    case "starting":
      return instance.ask_at;
    case "waiting":
      return instance.retry_at;
    case "running":
    case "exited":
      return null;
  }
}

/** Nothing is left of a deleted deployment: it can be forgotten. */
export const isGone = (state: DeploymentState): boolean => state.status === "deleted" && state.leaving.length === 0;
