import { parseDuration } from "../../contract/quantity.ts";
import { note } from "../note.ts";
import type { Draft } from "./draft.ts";
import { act } from "./operation.ts";

/** What happens without anybody asking at that moment: pause schedules and idle time. A user's goal is never overridden by them. */

export function onScheduled(draft: Draft, want: "paused" | "running", until: number): void {
  draft.schedule_until = Math.max(draft.schedule_until, until);
  const action = want === "paused" ? "pause" : "resume";
  const done = want === "paused" ? ["paused", "pausing"] : ["running", "resuming"];
  if (draft.goal !== null) {
    if (draft.goal.action !== action)
      note(
        draft,
        "info",
        "scheduler",
        "schedule_skipped",
        `the scheduled ${action} is left out: ${draft.goal.action} is queued`,
        {
          action,
        },
      );
    return;
  }
  // Who asks in a scheduled pause does not end it.
  if (want === "paused" && done.includes(draft.status) && draft.paused_by === "idle") draft.paused_by = "schedule";
  if (done.includes(draft.status)) return;
  const before = draft.entries.length;
  act(draft, { action, actor: "schedule", by: "schedule" });
  if (draft.entries.length === before)
    note(
      draft,
      "info",
      "scheduler",
      "schedule_skipped",
      `the scheduled ${action} is not possible while ${draft.status}`,
      {
        action,
      },
    );
}

/** When an instance that runs will have been idle for too long, ms since 1970; null when it never will. */
export function idleAt(
  draft: Pick<Draft, "status" | "serving" | "idle_since"> & { facts: Pick<Draft["facts"], "spec" | "busy_at"> },
): number | null {
  const ms = draft.facts.spec.idle_pause === null ? null : parseDuration(draft.facts.spec.idle_pause);
  if (ms === null || draft.status !== "running" || draft.serving?.loaded == null) return null;
  return Math.max(draft.idle_since, draft.facts.busy_at ?? 0) + ms;
}

export function onIdle(draft: Draft): void {
  const at = idleAt(draft);
  if (at === null || at > draft.facts.now) return;
  note(draft, "info", "scheduler", "idle", `no query has come for ${draft.facts.spec.idle_pause}`);
  act(draft, { action: "pause", actor: "idle", by: "idle" });
}

/** Somebody with a key asks. Only what rests because nobody asked comes back by it: not what its user, or a schedule, has paused. */
export function onWanted(draft: Draft): void {
  const rests = draft.status === "paused" || draft.status === "pausing";
  if (!rests || draft.paused_by !== "idle" || draft.facts.spec.idle_pause === null || draft.goal !== null) return;
  note(draft, "info", "scheduler", "wanted", "a query came");
  act(draft, { action: "resume", actor: "idle", by: "idle" });
}
