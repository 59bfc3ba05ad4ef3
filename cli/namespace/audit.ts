import type { Command } from "commander";
import type { AuditEntry } from "../../contract/event.ts";
import { auditTable } from "../audit.ts";
import { inSession, positive, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { limit: number };

export function namespaceAuditCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "audit <name>", "show who changed what in a namespace, newest first", [
    "lamplighter namespace audit shop",
  ])
    .option("--limit <n>", "at most this many", positive, 100)
    .action(inSession(around, audit));
}

async function audit(session: Session, { limit }: Options, name: string): Promise<void> {
  const { text } = await session.api.get(`/namespaces/${encodeURIComponent(name)}/audit`, { query: { limit } });
  session.show(text, (entries: AuditEntry[]) => auditTable(entries, session.terminal));
}
