import type { Engine, InstanceSpec, InstanceState, Runner } from "../../contract/instance.ts";
import { isStable } from "../../contract/instance-status.ts";
import type { InstanceEvent } from "./decide.ts";
import { runnersOf } from "./draft.ts";
import { lookAtPauses } from "./pause-times.ts";
import { idleAt } from "./unattended.ts";

/** Whom an instance has something to say to. What is said is read from the state when the letter is sent. */
export type LetterKey = "place" | "offer" | "ask" | "withdraw" | "orders" | "route" | `queue ${string}`;

/** What must be said because of a change. What was said and not answered by its deadline is said again. */
export function lettersFor(
  before: InstanceState | null,
  after: InstanceState,
  event: InstanceEvent["type"],
): Set<LetterKey> {
  const keys = new Set<LetterKey>();
  const known = new Map((before ? runnersOf(before) : []).map((runner) => [runner.generation, runner]));
  for (const runner of runnersOf(after)) {
    const was = known.get(runner.generation);
    const isFresh = was?.phase !== runner.phase;
    const isOverdue = event === "due" && !isFresh && was !== undefined && timeOf(was) !== timeOf(runner);
    if (runner.phase === "placing" && (isFresh || isOverdue || event === "capacity")) keys.add("place");
    if (runner.phase === "offered" && (isFresh || isOverdue)) keys.add("offer");
    if (runner.phase === "starting" && isOverdue) keys.add("ask");
  }
  const gone = new Set(before?.leaving.map(leavingKey));
  const again = event === "due" && (after.status === "terminating" || after.status === "pausing");
  if (after.leaving.some((one) => again || !gone.has(leavingKey(one)))) keys.add("withdraw");
  // An engine that starts is given its orders, and hears those that came meanwhile when it says that it has loaded.
  if (before !== null && ordersOf(before) !== ordersOf(after) && after.serving !== null) keys.add("orders");
  const builds = new Set([buildInQueue(before), buildInQueue(after)].filter((id) => id !== null));
  if (buildInQueue(before) !== buildInQueue(after)) for (const id of builds) keys.add(`queue ${id}`);
  return keys;
}

const leavingKey = ({ slot, generation, host_id }: InstanceState["leaving"][number]): string =>
  `${slot}/${generation}/${host_id}`;

const ordersOf = ({ replication_paused, reloads }: InstanceState): string => `${replication_paused} ${reloads}`;

/** The build that holds, or waits for, a place in the queue: from `queued` until its result is known. */
export const buildInQueue = (state: InstanceState | null): string | null =>
  state?.status === "queued" || state?.status === "building" ? (state.operation?.build_id ?? null) : null;

/** When the state wants to be looked at again if nothing is heard, ms since 1970; null for a resting instance. */
export function deadlineOf(
  state: InstanceState,
  spec: InstanceSpec,
  { now, busy_at }: { now: number; busy_at: number | null },
): number | null {
  const times = runnersOf(state).flatMap((runner) => timeOf(runner) ?? []);
  if (!isStable(state.status) && state.operation) times.push(state.operation.due_at);
  if (state.clearing?.until != null) times.push(state.clearing.until);
  const idle = idleAt({ ...state, facts: { spec, busy_at } });
  if (idle !== null) times.push(idle);
  const schedule = scheduleAt(state, spec, now);
  if (schedule !== null) times.push(schedule);
  return times.length > 0 ? Math.min(...times) : null;
}

/** The pause schedule means nothing to an instance that has nothing to pause or resume. */
export function scheduleAt(state: InstanceState, spec: InstanceSpec, now: number): number | null {
  if (spec.pause_schedule === null || !isScheduled(state)) return null;
  const { due, next } = lookAtPauses(spec.pause_schedule, state.schedule_until, now);
  return due?.at ?? next;
}

export const isScheduled = (state: InstanceState): boolean =>
  !["registered", "stopped", "terminated", "terminating", "failed"].includes(state.status);

function timeOf(runner: Runner): number | null {
  switch (runner.phase) {
    case "placing":
      return runner.recheck_at;
    case "offered":
    case "starting":
      return runner.ask_at;
    case "ended":
      return runner.give_up_at;
    case "waiting":
      return runner.retry_at;
    case "running":
      return null;
  }
}

/** What is deployed or on its way there: their artifacts are kept. */
export const buildsInUse = (state: InstanceState): string[] =>
  [state.serving, state.candidate]
    .filter((engine): engine is Engine => engine !== null)
    .map(({ build_id }) => build_id)
    .concat(state.deployed?.build_id ?? []);
