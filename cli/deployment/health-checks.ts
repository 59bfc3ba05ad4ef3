import type { Command } from "commander";
import type { HealthResultView } from "../../contract/health.ts";
import { age } from "../age.ts";
import { inSession, positive, serverCommand } from "../command.ts";
import { deploymentId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";
import { shortInstance } from "./logs.ts";

type Options = SessionOptions & { latest?: boolean; limit: number };

export function healthChecksCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "health-checks <deployment>", "show what the health checks of a deployment came to", [
    "lamplighter deployment health-checks web --latest",
    "lamplighter deployment health-checks web --limit 5 -o json",
  ])
    .option("--latest", "only the newest of each check of each instance")
    .option("--limit <n>", "at most this many", positive, 50)
    .action(inSession(around, healthChecks));
}

async function healthChecks(session: Session, { latest, limit }: Options, reference: string): Promise<void> {
  const { terminal, around } = session;
  const path = `/deployments/${await deploymentId(session.api, reference)}/health-checks`;
  const { text } = await session.api.get(path, { query: { latest, limit } });
  session.show(text, (rows: HealthResultView[]) =>
    rows.length === 0
      ? "No results of health checks.\n"
      : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<HealthResultView>[] => [
  { title: "instance", value: (r) => shortInstance(r.instance_id) },
  { title: "check", value: (r) => String(r.check), weight: 2, align: "right" },
  { title: "type", value: (r) => r.check_type },
  {
    title: "status",
    value: (r) => r.status,
    paint: (text, { status }, color) => (status === "success" ? color.green(text) : color.red(text)),
  },
  { title: "healthy", value: (r) => (r.healthy ? "yes" : "no"), weight: 3 },
  { title: "in a row", value: (r) => String(r.streak), weight: 4, align: "right" },
  { title: "age", value: (r) => age(r.finished_at, now), weight: 3, align: "right" },
  { title: "", value: (r) => oneLine(r.message), weight: 5, shrink: 20 },
];
