import type { Command } from "commander";
import type { LeaseView } from "../../contract/database.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";

type Row = { gateway: string; client: string; application: string; phase: string; since: string };

export function databaseLeasesCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "leases <database>", "show who uses a database: the gateways, and the first of their clients", [
    "lamplighter database leases shop",
  ]).action(inSession(around, leases));
}

async function leases(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { terminal, around } = session;
  const { text } = await session.api.get(`/databases/${await databaseId(session.api, reference)}/leases`);
  session.show(text, (all: LeaseView[]) =>
    all.length === 0
      ? "Nobody uses it.\n"
      : table(columns(around.now()), all.flatMap(rowsOf), terminal.width, terminal.color),
  );
}

function rowsOf(lease: LeaseView): Row[] {
  const trouble = lease.connected ? lease.unreachable && `cannot reach it: ${oneLine(lease.unreachable)}` : "cut off";
  const gateway = trouble ? `${lease.gateway} (${trouble})` : lease.gateway;
  const rows = lease.clients.map(({ address, application_name, phase, since }) => ({
    ...{ gateway, client: address, application: application_name, phase: phase.replace("_", " "), since },
  }));
  const more = lease.sessions + lease.waiting - rows.length;
  const rest = rows.length === 0 && more === 0 ? "nobody now" : more > 0 ? `${more} more` : null;
  return rest === null ? rows : [...rows, { gateway, client: rest, application: "", phase: "", since: lease.since }];
}

const columns = (now: number): Column<Row>[] => [
  { title: "gateway", value: (row) => row.gateway },
  { title: "client", value: (row) => row.client },
  { title: "application", value: (row) => row.application, shrink: 12 },
  { title: "phase", value: (row) => row.phase },
  { title: "since", value: (row) => `${age(row.since, now)} ago`, align: "right" },
];
