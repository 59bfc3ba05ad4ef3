import type { Command } from "commander";
import { inSession, positive, serverCommand } from "../command.ts";
import { type JournalOptions, showJournal } from "../journal.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function webhookEventsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "events <webhook>", "show what became of a webhook itself: failing, back, disabled", [
    "lamplighter webhook events https://ci.example.com/lamps -f",
  ])
    .option("-l, --level <level>", "only info, warning or error")
    .option("--limit <n>", "at most this many", positive, 50)
    .option("-f, --follow", "go on with each new event")
    .action(inSession(around, events));
}

async function events(session: Session, options: SessionOptions & JournalOptions, reference: string): Promise<void> {
  await showJournal(session, `/webhooks/${await webhookId(session.api, reference)}/journal`, options);
}
