import type { Command } from "commander";
import type { ConnectionView } from "../../contract/connection.ts";
import { age } from "../age.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";

export function connectionListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list connections, newest first", ["lamplighter connection list"])
    .alias("ls")
    .option("-n, --namespace <namespace>", "only in this namespace (repeat for several)", collect)
    .action(inSession(around, list));
}

async function list(session: Session, { namespace }: SessionOptions & { namespace?: string[] }): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/connections", { namespace }, Number.POSITIVE_INFINITY), (rows: ConnectionView[]) =>
    rows.length === 0 ? "No connections.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<ConnectionView>[] => [
  { title: "id", value: (c) => c.id, weight: 2 },
  { title: "namespace", value: (c) => c.namespace, weight: 5, shrink: 9 },
  { title: "name", value: (c) => c.name, shrink: 16, paint: (text, _c, color) => color.bold(text) },
  { title: "kind", value: (c) => c.kind, weight: 3 },
  {
    title: "source",
    value: (c) => (c.host === null ? (c.database_id ?? "") : `${c.user}@${c.host}:${c.port}`),
    weight: 4,
    shrink: 20,
  },
  { title: "schemas", value: (c) => c.schemas.join(","), weight: 6, shrink: 10 },
  { title: "status", value: (c) => c.status, paint: (text, c, color) => paintStatus(text, c.status, color) },
  { title: "instances", value: (c) => String(c.instances.length), weight: 4, align: "right" },
  { title: "age", value: (c) => age(c.created_at, now), weight: 1, align: "right" },
];
