import type { Command } from "commander";
import type { RunView, ScheduleView } from "../../contract/schedule.ts";
import { age, until } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { scheduleId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { oneLine } from "../terminal.ts";

export function scheduleInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <schedule>", "show everything about a schedule", [
    "lamplighter schedule inspect backup",
    "lamplighter schedule inspect prod/backup -o yaml",
  ]).action(inSession(around, inspect));
}

async function inspect(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/schedules/${await scheduleId(session.api, reference)}`);
  session.show(text, (schedule: ScheduleView) => describe(schedule, session));
}

function describe(schedule: ScheduleView, { terminal: { color, width }, around }: Session): string {
  const now = around.now();
  const ago = (at: string) => `${age(at, now)} ago  ${color.dim(at)}`;
  const run = (one: RunView) => oneLine(`${one.name} ${one.status}${one.message === "" ? "" : `: ${one.message}`}`);
  const { next_at, last_scheduled_at, job } = schedule as ScheduleView & {
    job: { runtime: string; image?: string | null; command: string[] };
  };
  return sheet(color, width, [
    ["Name", color.bold(schedule.name)],
    ["Namespace", schedule.namespace],
    ["Id", schedule.id],
    ["Status", paintStatus(schedule.status, schedule.status, color)],
    ["", oneLine(schedule.message)],
    ["Cron", `${schedule.cron}  ${color.dim(schedule.time_zone)}`],
    ["Next", next_at === null ? "" : `${until(next_at, now)}  ${color.dim(next_at)}`],
    ["Last time", last_scheduled_at === null ? "" : ago(last_scheduled_at)],
    ["Last run", schedule.last_run === null ? "" : run(schedule.last_run)],
    ["Under way", schedule.active.map(run)],
    ["Concurrency", schedule.concurrency_policy],
    ["Starting deadline", schedule.starting_deadline ?? ""],
    ["History", `${schedule.history.completed} completed, ${schedule.history.failed} failed`],
    ["Job", oneLine([job.runtime, job.image ?? "", job.command.join(" ")].filter((text) => text !== "").join("  "))],
    ["Created", ago(schedule.created_at)],
    ["Revision", String(schedule.revision)],
  ]);
}
