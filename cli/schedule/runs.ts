import type { Command } from "commander";
import type { RunView } from "../../contract/schedule.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { scheduleId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";

export function scheduleRunsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "runs <schedule>", "list the runs of a schedule that are kept, newest first", [
    "lamplighter schedule runs backup",
  ]).action(inSession(around, runs));
}

async function runs(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.get(`/schedules/${await scheduleId(session.api, reference)}/runs`);
  const { terminal, around } = session;
  session.show(text, (rows: RunView[]) =>
    rows.length === 0 ? "No runs.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<RunView>[] => [
  { title: "run", value: (r) => r.name, paint: (text, _r, color) => color.bold(text) },
  { title: "deployment", value: (r) => r.deployment_id ?? "–", weight: 1 },
  { title: "for", value: (r) => r.scheduled_at.slice(0, 19), weight: 3 },
  { title: "by", value: (r) => r.trigger, weight: 2 },
  {
    title: "status",
    value: (r) => r.status,
    paint: (text, { status }, color) =>
      status === "completed" ? color.green(text) : status === "failed" ? color.red(text) : color.yellow(text),
  },
  { title: "took", value: (r) => took(r, now), weight: 4, align: "right" },
  { title: "", value: (r) => oneLine(r.message), weight: 5, shrink: 20 },
];

const took = ({ started_at, finished_at }: RunView, now: number): string =>
  started_at === null ? "–" : age(started_at, finished_at === null ? now : Date.parse(finished_at));
