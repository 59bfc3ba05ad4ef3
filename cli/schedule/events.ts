import type { Command } from "commander";
import { inSession, positive, serverCommand } from "../command.ts";
import { type JournalOptions, showJournal } from "../journal.ts";
import { scheduleId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function scheduleEventsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "events <schedule>", "show what happened to a schedule, the newest last", [
    "lamplighter schedule events backup",
    "lamplighter schedule events backup -f",
  ])
    .option("-l, --level <level>", "only info, warning or error")
    .option("--limit <n>", "at most this many", positive, 50)
    .option("-f, --follow", "go on with each new event")
    .action(inSession(around, events));
}

async function events(session: Session, options: SessionOptions & JournalOptions, reference: string): Promise<void> {
  await showJournal(session, `/schedules/${await scheduleId(session.api, reference)}/events`, options);
}
