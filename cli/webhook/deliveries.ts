import { type Command, Option } from "commander";
import { DELIVERY_STATUSES, type WebhookDelivery } from "../../contract/webhook-endpoint.ts";
import { until } from "../age.ts";
import { inSession, positive, serverCommand } from "../command.ts";
import { clock } from "../journal.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";

type Options = SessionOptions & { status?: string; event?: string; limit: number };

export function deliveriesCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "deliveries <webhook>", "show what a webhook was to be told of, the newest first", [
    "lamplighter webhook deliveries https://ci.example.com/lamps --status dead",
    "lamplighter webhook deliveries whk_01k… --limit 500 -o json",
  ])
    .addOption(new Option("-s, --status <status>", "only what waits, came, or was given up").choices(DELIVERY_STATUSES))
    .option("--event <id>", "only this event")
    .option("--limit <n>", "at most this many", positive, 50)
    .action(inSession(around, deliveries));
}

async function deliveries(session: Session, { status, event, limit }: Options, reference: string): Promise<void> {
  const path = `/webhooks/${await webhookId(session.api, reference)}/events`;
  const { text } = await session.api.get(path, { query: { status, event_id: event, limit } });
  session.show(text, (rows: WebhookDelivery[]) => deliveryTable(session, rows));
}

export const deliveryTable = ({ terminal, around }: Session, rows: WebhookDelivery[]): string =>
  rows.length === 0 ? "No events.\n" : table(columns(around.now()), rows, terminal.width, terminal.color);

const columns = (now: number): Column<WebhookDelivery>[] => [
  { title: "time", value: (d) => clock(d.created_at), weight: 1 },
  { title: "event", value: (d) => d.kind },
  { title: "id", value: (d) => d.id },
  { title: "status", value: (d) => d.status, paint: (text, d, color) => paintStatus(text, d.status, color) },
  { title: "attempts", value: (d) => String(d.attempts), weight: 3, align: "right" },
  { title: "next", value: (d) => next(d, now), weight: 2 },
  { title: "error", value: (d) => oneLine(d.last_error ?? ""), weight: 4, shrink: 16 },
];

function next({ status, next_attempt_at }: WebhookDelivery, now: number): string {
  if (status !== "pending") return "–";
  return next_attempt_at === null ? "after an earlier one" : until(next_attempt_at, now);
}
