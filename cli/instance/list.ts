import type { Command } from "commander";
import type { InstanceView } from "../../contract/instance.ts";
import { age } from "../age.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";

type Options = SessionOptions & { namespace?: string[]; status?: string[] };

export function instanceListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list instances, newest first", [
    "lamplighter instance list",
    "lamplighter instance list -n shop --status running -o json",
  ])
    .alias("ls")
    .option("-n, --namespace <namespace>", "only in this namespace (repeat for several)", collect)
    .option("-s, --status <status>", "only in this status (repeat for several)", collect)
    .action(inSession(around, list));
}

async function list(session: Session, { namespace, status }: Options): Promise<void> {
  const { terminal, around } = session;
  session.show(
    await session.list("/instances", { namespace, status }, Number.POSITIVE_INFINITY),
    (rows: InstanceView[]) =>
      rows.length === 0 ? "No instances.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

/** The status, and what is queued after it. */
export const statusText = ({ status, goal }: Pick<InstanceView, "status" | "goal">): string =>
  goal === null ? status : `${status}, ${goal.action} after`;

const columns = (now: number): Column<InstanceView>[] => [
  { title: "id", value: (i) => i.id, weight: 2 },
  { title: "namespace", value: (i) => i.namespace, weight: 5, shrink: 9 },
  { title: "name", value: (i) => i.name, shrink: 16, paint: (text, _i, color) => color.bold(text) },
  { title: "status", value: statusText, paint: (text, i, color) => paintStatus(text, i.status, color) },
  { title: "health", value: (i) => i.health ?? "–", weight: 4 },
  { title: "size", value: (i) => i.settings.size, weight: 3 },
  { title: "schema", value: (i) => i.schema, weight: 6, shrink: 10 },
  { title: "endpoint", value: (i) => i.endpoint_url ?? "–", weight: 4 },
  { title: "age", value: (i) => age(i.created_at, now), weight: 1, align: "right" },
];
