import type { Command } from "commander";
import type { ListedDatabase } from "../../contract/database.ts";
import { age } from "../age.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";
import { isMade } from "./inspect.ts";

type Options = SessionOptions & { namespace?: string[]; state?: string[]; label?: string[] };

export function databaseListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list databases, newest first", [
    "lamplighter database list",
    "lamplighter database list -n prod --state ready",
    "lamplighter database list --label team=web",
  ])
    .alias("ls")
    .option("-n, --namespace <namespace>", "only in this namespace (repeat for several)", collect)
    .option("-s, --state <state>", "only in this state, such as ready or stopped (repeat for several)", collect)
    .option("-l, --label <key=value>", "only with this label (repeat: all of them)", collect)
    .action(inSession(around, list));
}

async function list(session: Session, { namespace, state, label }: Options): Promise<void> {
  const { terminal, around } = session;
  session.show(
    await session.list("/databases", { namespace, status: state, label }, Number.POSITIVE_INFINITY),
    (rows: ListedDatabase[]) =>
      rows.length === 0 ? "No databases.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<ListedDatabase>[] => [
  { title: "id", value: (d) => d.id, weight: 1 },
  { title: "namespace", value: (d) => d.namespace, weight: 5, shrink: 9 },
  { title: "name", value: (d) => d.name, shrink: 16, paint: (text, _d, color) => color.bold(text) },
  { title: "state", value: (d) => d.state, paint: (text, d, color) => paintStatus(text, d.state, color) },
  { title: "profile", value: (d) => d.target_profile, weight: 4 },
  { title: "last start", value: (d) => (d.last_start ? `${d.last_start.ms} ms` : "–"), weight: 4, align: "right" },
  {
    title: "used",
    value: ({ last_used_at: at }) => (at === undefined ? "–" : at === null ? "never" : `${age(at, now)} ago`),
    weight: 6,
    align: "right",
  },
  {
    title: "durable by",
    value: (d) => d.durability.keepers.join(",") || (isMade(d) ? "its host" : "–"),
    weight: 2,
    shrink: 10,
  },
];
