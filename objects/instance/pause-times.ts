import type { PauseSchedule } from "../../contract/instance.ts";
import type { Violation } from "../../contract/problem.ts";
import { faultOf, lookAt } from "../schedule/times.ts";

/** The two times of a pause schedule as cron expressions. */
function cronsOf({ pause_at, resume_at, days }: PauseSchedule): { paused: string; running: string } {
  const cron = (time: string): string => {
    const [hour, minute] = time.split(":").map(Number);
    return `${minute} ${hour} * * ${days.length === 0 ? "*" : [...new Set(days)].sort().join(",")}`;
  };
  return { paused: cron(pause_at), running: cron(resume_at) };
}

/** Which of its times came last after a moment, and when the next one comes. Of those that were missed only the last one counts. */
export function lookAtPauses(
  schedule: PauseSchedule,
  until: number,
  now: number,
): { due: { want: "paused" | "running"; at: number } | null; next: number } {
  const crons = cronsOf(schedule);
  const pause = lookAt(crons.paused, schedule.time_zone, until, now);
  const resume = lookAt(crons.running, schedule.time_zone, until, now);
  const next = Math.min(pause.next, resume.next);
  if (pause.due === null && resume.due === null) return { due: null, next };
  const isPause = (pause.due ?? 0) > (resume.due ?? 0);
  return { due: { want: isPause ? "paused" : "running", at: Math.max(pause.due ?? 0, resume.due ?? 0) }, next };
}

/** When it first resumes after a moment, ms since 1970. */
export const resumesAfter = (schedule: PauseSchedule, moment: number): number =>
  lookAt(cronsOf(schedule).running, schedule.time_zone, moment, moment).next;

export function scheduleViolations(schedule: PauseSchedule): Violation[] {
  const fault = faultOf(cronsOf(schedule).paused, schedule.time_zone);
  return fault === null
    ? []
    : [
        {
          property_path: `pause_schedule.${fault.path === "time_zone" ? "time_zone" : "pause_at"}`,
          message: fault.message,
          code: "instance.pause_schedule.invalid",
        },
      ];
}
