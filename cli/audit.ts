import type { Command } from "commander";
import type { AuditEntry } from "../contract/event.ts";
import { inSession, positive, serverCommand } from "./command.ts";
import { clock } from "./journal.ts";
import type { Session, SessionOptions, Surroundings } from "./session.ts";
import { type Column, table } from "./table.ts";
import type { Terminal } from "./terminal.ts";

type Options = SessionOptions & { namespace?: string; resource?: string; limit: number };

export function auditCommand(program: Command, around: Surroundings): void {
  serverCommand(program, "audit", "show who changed what, newest first", [
    "lamplighter audit --namespace prod",
    "lamplighter audit --resource dep_01k… -o json",
  ])
    .option("-n, --namespace <namespace>", "only in this namespace")
    .option("--resource <id>", "only of this resource")
    .option("--limit <n>", "at most this many", positive, 100)
    .action(inSession(around, audit));
}

async function audit(session: Session, options: Options): Promise<void> {
  const body = await session.list(
    "/audit",
    { namespace: options.namespace, resource_id: options.resource },
    options.limit,
  );
  session.show(body, (entries: AuditEntry[]) => auditTable(entries, session.terminal));
}

export const auditTable = (entries: AuditEntry[], { width, color }: Terminal): string =>
  entries.length === 0 ? "No entries.\n" : table(COLUMNS, entries, width, color);

const COLUMNS: Column<AuditEntry>[] = [
  { title: "time", value: (e) => clock(e.timestamp) },
  { title: "actor", value: (e) => e.actor, weight: 5, shrink: 12 },
  { title: "action", value: (e) => e.action },
  { title: "kind", value: (e) => e.resource_kind, weight: 4 },
  { title: "namespace", value: (e) => e.namespace ?? "–", weight: 3 },
  { title: "name", value: (e) => e.resource_name, shrink: 16 },
  { title: "revision", value: (e) => `${e.before_revision ?? "–"} → ${e.after_revision ?? "–"}`, weight: 2 },
  { title: "id", value: (e) => e.resource_id, weight: 1 },
];
