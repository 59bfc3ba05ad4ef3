import type { Command } from "commander";
import type { ScheduleView } from "../../contract/schedule.ts";
import { until } from "../age.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";

type Options = SessionOptions & { namespace?: string[]; status?: string[] };

export function scheduleListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list schedules, newest first", [
    "lamplighter schedule list",
    "lamplighter schedule list --namespace prod --status suspended -o json",
  ])
    .alias("ls")
    .option("-n, --namespace <namespace>", "only in this namespace (repeat for several)", collect)
    .option("-s, --status <status>", "only waiting, running or suspended ones (repeat for several)", collect)
    .action(inSession(around, list));
}

async function list(session: Session, { namespace, status }: Options): Promise<void> {
  const { terminal, around } = session;
  session.show(
    await session.list("/schedules", { namespace, status }, Number.POSITIVE_INFINITY),
    (rows: ScheduleView[]) =>
      rows.length === 0 ? "No schedules.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<ScheduleView>[] => [
  { title: "id", value: (s) => s.id, weight: 1 },
  { title: "namespace", value: (s) => s.namespace, weight: 5, shrink: 9 },
  { title: "name", value: (s) => s.name, shrink: 16, paint: (text, _s, color) => color.bold(text) },
  { title: "cron", value: (s) => s.cron, shrink: 9 },
  { title: "time zone", value: (s) => s.time_zone, weight: 3 },
  { title: "status", value: (s) => s.status, paint: (text, s, color) => paintStatus(text, s.status, color) },
  { title: "next", value: (s) => (s.next_at === null ? "–" : until(s.next_at, now)), weight: 6, align: "right" },
  { title: "last", value: (s) => (s.last_run ? `${s.last_run.status}` : "–"), weight: 4 },
  { title: "active", value: (s) => String(s.active.length), weight: 4, align: "right" },
];
