import type { Command } from "commander";
import type { WebhookView } from "../../contract/webhook-endpoint.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, Surroundings } from "../session.ts";
import { paintStatus } from "../status.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";

export function webhookListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list webhooks, newest first; a revoked one stays for a week", [
    "lamplighter webhook list",
    "lamplighter webhook list -o json",
  ])
    .alias("ls")
    .action(inSession(around, list));
}

async function list(session: Session): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/webhooks", {}, Number.POSITIVE_INFINITY), (rows: WebhookView[]) =>
    rows.length === 0 ? "No webhooks.\n" : table(columns(around.now()), rows, terminal.width, terminal.color),
  );
}

const columns = (now: number): Column<WebhookView>[] => [
  { title: "id", value: (w) => w.id, weight: 1 },
  { title: "url", value: (w) => oneLine(w.url), shrink: 24, paint: (text, _w, color) => color.bold(text) },
  { title: "status", value: (w) => w.status, paint: (text, w, color) => paintStatus(text, w.status, color) },
  { title: "events", value: (w) => eventsText(w), weight: 4, shrink: 16 },
  {
    title: "namespaces",
    value: (w) => (w.namespaces.length === 0 ? "all" : w.namespaces.join(",")),
    weight: 3,
    shrink: 10,
  },
  { title: "failing", value: (w) => failing(w, now), weight: 5 },
  { title: "age", value: (w) => age(w.created_at, now), weight: 2, align: "right" },
];

export const eventsText = ({ events }: WebhookView): string => (events.length === 0 ? "*" : events.join(","));

function failing({ status, reason, failing_since }: WebhookView, now: number): string {
  if (status === "disabled") return reason;
  return failing_since === null ? "–" : `for ${age(failing_since, now)}`;
}
