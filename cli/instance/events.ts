import type { Command } from "commander";
import { inSession, positive, serverCommand } from "../command.ts";
import { type JournalOptions, showJournal } from "../journal.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function instanceEventsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "events <instance>", "show what happened to an instance, the newest last", [
    "lamplighter instance events shop-read",
    "lamplighter instance events shop-read -f",
  ])
    .option("-l, --level <level>", "only info, warning or error")
    .option("--limit <n>", "at most this many", positive, 50)
    .option("-f, --follow", "go on with each new event")
    .action(inSession(around, events));
}

async function events(session: Session, options: SessionOptions & JournalOptions, reference: string): Promise<void> {
  await showJournal(session, `/instances/${await instanceId(session.api, reference)}/events`, options);
}
