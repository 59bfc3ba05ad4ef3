import type { Command } from "commander";
import type { WebhookAttempt } from "../../contract/webhook-endpoint.ts";
import { inSession, positive, serverCommand } from "../command.ts";
import { clock } from "../journal.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";
import { type Colors, oneLine } from "../terminal.ts";

type Options = SessionOptions & { event?: string; limit: number };

export function attemptsCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "attempts <webhook>", "show each request that was made, and what was answered", [
    "lamplighter webhook attempts https://ci.example.com/lamps",
    "lamplighter webhook attempts whk_01k… --event dep_01k…:7 -o json",
  ])
    .option("--event <id>", "only of this event")
    .option("--limit <n>", "at most this many", positive, 50)
    .action(inSession(around, attempts));
}

async function attempts(session: Session, { event, limit }: Options, reference: string): Promise<void> {
  const { terminal } = session;
  const path = `/webhooks/${await webhookId(session.api, reference)}/attempts`;
  const { text } = await session.api.get(path, { query: { event_id: event, limit } });
  session.show(text, (rows: WebhookAttempt[]) =>
    rows.length === 0 ? "No attempts.\n" : table(COLUMNS, rows, terminal.width, terminal.color),
  );
}

const paintOutcome = (text: string, { outcome }: WebhookAttempt, color: Colors): string =>
  outcome === "delivered" ? color.green(text) : color.red(text);

/** What went wrong and what was answered, on one line. */
export const said = ({ error, response }: WebhookAttempt): string =>
  oneLine([error, response].filter((text) => text !== null && text !== "").join(": "));

const COLUMNS: Column<WebhookAttempt>[] = [
  { title: "time", value: (a) => clock(a.at) },
  { title: "event", value: (a) => a.kind, weight: 2 },
  { title: "id", value: (a) => a.event_id, weight: 1 },
  { title: "outcome", value: (a) => a.outcome, paint: paintOutcome },
  { title: "answer", value: (a) => (a.status === null ? "–" : String(a.status)), align: "right" },
  { title: "took", value: (a) => `${a.latency_ms} ms`, weight: 3, align: "right" },
  { title: "", value: said, weight: 4, shrink: 20 },
];

export const attemptLine = (attempt: WebhookAttempt, color: Colors): string =>
  `${color.dim(clock(attempt.at))}  ${paintOutcome(attempt.outcome.padEnd(9), attempt, color)}  ${attempt.kind}  ${attempt.event_id}  ${attempt.latency_ms} ms  ${said(attempt)}`.trimEnd() +
  "\n";
