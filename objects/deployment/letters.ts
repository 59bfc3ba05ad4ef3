import { type DeploymentState, type Instance, isTerminal } from "../../contract/deployment.ts";
import type { Rollout } from "../../contract/rollout.ts";
import type { Event } from "./decide.ts";

/** Whom the object has something to say to. What is said is read from the state when the letter is sent. */
export type LetterKey =
  | "place"
  | "offer"
  | "ask"
  | "withdraw"
  /** To the agents, that liveness is to be checked from now on. */
  | "probe"
  /** To the parents of a rollout: how many instances they may keep. */
  | "parents"
  /** To the child that takes over from this one: what there is. */
  | "successor"
  /** To the version that is to take over again. */
  | "hand_over"
  /** To the namespace: what came of the rollout. */
  | "conclude"
  /** To a parent of which nothing is left. */
  | `retire ${string}`;

/**
 * What must be said because of a change: a phase that is new to a slot is told to whom it concerns, and when a deadline was over it is told
 * again.
 */
export function lettersFor(
  before: DeploymentState | null,
  after: DeploymentState,
  event: Event["type"] | "created",
): Set<LetterKey> {
  const keys = rolloutLetters(before?.rollout ?? null, after, before);
  if (after.established && before !== null && !before.established && after.status === "running") keys.add("probe");
  const old = new Map(before?.instances.map((instance) => [instance.slot, instance]));
  for (const instance of after.instances) {
    const was = old.get(instance.slot);
    const fresh = was?.phase !== instance.phase || was.generation !== instance.generation;
    const overdue = !fresh && event === "due" && deadlineOfInstance(was as Instance) !== deadlineOfInstance(instance);
    const renewed = was?.phase === "placing" && instance.phase === "placing" && was.message !== "" && !instance.message;
    const isPlaceable = instance.phase === "placing" && !instance.unresolved;
    if (isPlaceable && (fresh || overdue || renewed || event === "capacity")) keys.add("place");
    if (instance.phase === "offered" && (fresh || overdue)) keys.add("offer");
    if (instance.phase === "starting" && overdue) keys.add("ask");
  }
  const going = (state: DeploymentState) => state.leaving.filter(({ serving }) => !serving);
  const known = new Set(before ? going(before).map(({ slot, generation }) => `${slot}/${generation}`) : []);
  const repeat = event === "due" && after.status === "deleted";
  if (going(after).some(({ slot, generation }) => repeat || !known.has(`${slot}/${generation}`))) keys.add("withdraw");
  return keys;
}

function rolloutLetters(was: Rollout | null, after: DeploymentState, before: DeploymentState | null): Set<LetterKey> {
  const keys = new Set<LetterKey>();
  const { rollout } = after;
  if (rollout.role === "child") {
    const told = was?.role === "child" && was.number === rollout.number ? was.parents : [];
    const isNew = rollout.parents.some(
      ({ id, keep }) => !told.some((parent) => parent.id === id && parent.keep === keep),
    );
    if (isNew) keys.add("parents");
  }
  if (rollout.role === "parent") {
    const isNew = was?.role !== "parent" || was.successor !== rollout.successor;
    if (rollout.handing_over !== null && isNew) keys.add("hand_over");
    const isTaken = was?.role === "parent" && was.handing_over !== null;
    if (rollout.handing_over === null && (isNew || isTaken || changesReport(before, after))) keys.add("successor");
  }
  if (was?.role === "child" && (rollout.role !== "child" || rollout.number !== was.number)) {
    if (was.direction === "forward") keys.add("conclude");
    if (rollout.role === "none" && after.status !== "deleted" && !isTerminal(after.status))
      for (const { id } of was.parents) keys.add(`retire ${id}`);
  }
  if (
    was?.role === "parent" &&
    was.handing_over !== null &&
    !(rollout.role === "parent" && rollout.handing_over !== null)
  )
    keys.add("conclude");
  return keys;
}

/** Whether a successor would be told something else than before. Health is part of an instance, and whether it is ready follows from it. */
function changesReport(before: DeploymentState | null, after: DeploymentState): boolean {
  const told = (state: DeploymentState) =>
    JSON.stringify([
      state.leaving.length,
      state.instances.map((i) => [
        i.slot,
        i.generation,
        i.phase,
        i.phase === "running" ? i.health.map(({ check, healthy }) => [check, healthy]) : null,
      ]),
    ]);
  return before === null || told(before) !== told(after);
}

/**
 * When the state wants to be looked at again if nothing is heard, ms since 1970; null for a resting deployment.
 * @param ttlMs how long after its end a job is kept; null for ever
 */
export function deadlineOf(state: DeploymentState, ttlMs: number | null = null): number | null {
  if (state.status === "deleted") return state.leaving.length > 0 ? state.ask_at : null;
  if (isTerminal(state.status)) return ttlMs !== null && "finished_at" in state ? state.finished_at + ttlMs : null;
  const deadlines = state.instances.flatMap((instance) => deadlineOfInstance(instance) ?? []);
  if (state.progress_due_at !== null) deadlines.push(state.progress_due_at);
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
export const isGone = (state: DeploymentState): boolean =>
  state.status === "deleted" && state.leaving.length === 0 && !isHandingOver(state);

/** A child that has ended, while the version before it has not said yet that it takes over again. */
export const isHandingOver = ({ rollout }: DeploymentState): boolean =>
  rollout.role === "parent" && rollout.handing_over !== null;
