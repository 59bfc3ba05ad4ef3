import type { InstanceEvent } from "./decide.ts";
import type { InstanceRecord } from "./kept.ts";
import { scheduleAt } from "./letters.ts";
import { lookAtPauses } from "./pause-times.ts";
import { idleAt } from "./unattended.ts";

/** What a timer that rang may mean: each with its actor, in the order in which it is decided. */
export function dueEvents(
  { state, spec, vitals }: InstanceRecord,
  now: number,
): { event: InstanceEvent; actor: string }[] {
  const events: { event: InstanceEvent; actor: string }[] = [];
  const at = scheduleAt(state, spec, now);
  const { due } =
    spec.pause_schedule && at !== null && at <= now
      ? lookAtPauses(spec.pause_schedule, state.schedule_until, now)
      : { due: null };
  if (due) events.push({ event: { type: "scheduled", want: due.want, until: due.at }, actor: "schedule" });
  const idle = idleAt({ ...state, facts: { spec, busy_at: vitals?.busy_at ?? null } });
  if (idle !== null && idle <= now) events.push({ event: { type: "idle" }, actor: "idle" });
  return [...events, { event: { type: "due" }, actor: "scheduler" }];
}
