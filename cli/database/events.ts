import type { Command } from "commander";
import { inSession, positive, serverCommand } from "../command.ts";
import { type JournalOptions, showJournal } from "../journal.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function databaseEventsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "events <database>", "show what happened to a database, the newest last", [
    "lamplighter database events shop",
    "lamplighter database events shop -f",
  ])
    .option("-l, --level <level>", "only info, warning or error")
    .option("--limit <n>", "at most this many", positive, 50)
    .option("-f, --follow", "go on with each new event")
    .action(inSession(around, events));
}

async function events(session: Session, options: SessionOptions & JournalOptions, reference: string): Promise<void> {
  await showJournal(session, `/databases/${await databaseId(session.api, reference)}/events`, options);
}
