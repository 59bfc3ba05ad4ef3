import type { Command } from "commander";
import { inSession, positive, serverCommand } from "../command.ts";
import { type JournalOptions, showJournal } from "../journal.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function eventsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "events <deployment>", "show what happened to a deployment, the newest last", [
    "lamplighter deployment events web",
    "lamplighter deployment events web -f",
    "lamplighter deployment events web --level error -o json",
  ])
    .option("-l, --level <level>", "only info, warning or error")
    .option("--limit <n>", "at most this many", positive, 50)
    .option("-f, --follow", "go on with each new event")
    .action(inSession(around, events));
}

async function events(session: Session, options: SessionOptions & JournalOptions, reference: string): Promise<void> {
  await showJournal(session, `/deployments/${await deploymentId(session.api, reference)}/events`, options);
}
