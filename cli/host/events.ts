import type { Command } from "commander";
import { inSession, positive, serverCommand } from "../command.ts";
import { type JournalOptions, showJournal } from "../journal.ts";
import { hostId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function hostEventsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "events <host>", "show what happened to a host, the newest last", [
    "lamplighter host events local",
    "lamplighter host events local -f",
  ])
    .option("-l, --level <level>", "only info, warning or error")
    .option("--limit <n>", "at most this many", positive, 50)
    .option("-f, --follow", "go on with each new event")
    .action(inSession(around, events));
}

async function events(session: Session, options: SessionOptions & JournalOptions, reference: string): Promise<void> {
  await showJournal(session, `/hosts/${await hostId(session.api, reference)}/events`, options);
}
