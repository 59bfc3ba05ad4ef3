import type { Run, ScheduleSpec, ScheduleState } from "../../contract/schedule.ts";

/** What there is to do because of the state, one subject each: a run to start, a deployment to delete. */
export function subjects(state: ScheduleState, spec: ScheduleSpec): Set<string> {
  const keys = new Set<string>();
  for (const run of state.runs) {
    if (run.phase === "due" && mayStart(state, spec, run)) keys.add(`start ${runKey(run)}`);
    if (run.phase === "stopping") keys.add(`delete ${run.deployment_id}`);
  }
  for (const id of state.discard) keys.add(`delete ${id}`);
  return keys;
}

export const runKey = ({ at, manual }: Pick<Run, "at" | "manual">): string => `${at}${manual ? "m" : ""}`;

/** One that takes another's place waits until that one is gone. One whose deployment may be there is asked for in any case. */
const mayStart = (state: ScheduleState, spec: ScheduleSpec, run: Extract<Run, { phase: "due" }>): boolean =>
  run.attempted || spec.concurrency_policy !== "replace" || !state.runs.some(isEnding);

const isEnding = (run: Run): boolean => run.phase === "stopping" || (run.phase === "due" && run.doomed);

/** When the state wants to be looked at, ms since 1970; null for a resting schedule. */
export function deadlineOf(state: ScheduleState): number | null {
  const deadlines = ["next_at" in state ? state.next_at : null, state.check_at].filter((at) => at !== null);
  return deadlines.length > 0 ? Math.min(...deadlines) : null;
}

/** Nothing is left of a deleted schedule: it can be forgotten. */
export const isGone = (state: ScheduleState): boolean =>
  state.status === "deleted" && state.runs.length === 0 && state.discard.length === 0;
