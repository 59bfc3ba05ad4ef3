import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { WebhookAttempt, WebhookDelivery, WebhookView } from "../../contract/webhook-endpoint.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { pairs } from "../key-values.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { paintStatus } from "../status.ts";
import { oneLine, type Terminal } from "../terminal.ts";
import { attemptLine } from "./attempts.ts";
import { deliveryTable } from "./deliveries.ts";
import { eventsText } from "./list.ts";

type Options = SessionOptions & { follow?: boolean };

const LOOKS_EVERY_MS = 1_000;

export function webhookInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <webhook>", "show a webhook and its newest events", [
    "lamplighter webhook inspect https://ci.example.com/lamps",
    "lamplighter webhook inspect whk_01k… -f",
  ])
    .option("-f, --follow", "go on with each attempt to deliver")
    .action(inSession(around, inspect));
}

async function inspect(session: Session, { follow }: Options, reference: string): Promise<void> {
  const { api, around, terminal } = session;
  const id = await webhookId(api, reference);
  const { text } = await api.get(`/webhooks/${id}`);
  const { text: events } = await api.get(`/webhooks/${id}/events`, { query: { limit: 10 } });
  session.show(
    text,
    (view: WebhookView) =>
      `${describe(view, terminal, around.now())}\n${deliveryTable(session, JSON.parse(events) as WebhookDelivery[])}`,
  );
  if (follow) await followAttempts(session, id);
}

function describe(view: WebhookView, { color, width }: Terminal, now: number): string {
  return sheet(color, width, [
    ["Url", color.bold(oneLine(view.url))],
    ["Id", view.id],
    ["Status", `${paintStatus(view.status, view.status, color)}  ${color.dim(view.message)}`],
    ["Events", eventsText(view)],
    ["Namespaces", view.namespaces.length === 0 ? "all" : view.namespaces.join(", ")],
    ["Labels", pairs(view.labels).map(oneLine)],
    ["Format", `${view.format}${view.ring_headers ? ", with Ring's headers" : ""}`],
    ["For", oneLine(view.description)],
    ["Secrets", view.secrets > 1 ? `${view.secrets} sign: a rotation overlaps` : ""],
    ["Failing", view.failing_since === null ? "" : `for ${age(view.failing_since, now)}`],
    ["Created", `${age(view.created_at, now)} ago  ${color.dim(view.created_at)}`],
    ["Revision", String(view.revision)],
  ]);
}

/** Attempts are numbered without end: none is shown twice, and none is missed. */
async function followAttempts(session: Session, id: string): Promise<void> {
  const { api, terminal, interrupted } = session;
  const newest = async (limit: number) =>
    JSON.parse((await api.get(`/webhooks/${id}/attempts`, { query: { limit } })).text) as WebhookAttempt[];
  let seen = (await newest(1))[0]?.id ?? 0;
  while (!interrupted.aborted) {
    const fresh = (await newest(1000)).filter((one) => one.id > seen).reverse();
    for (const one of fresh)
      terminal.out(session.format === "table" ? attemptLine(one, terminal.color) : `${JSON.stringify(one)}\n`);
    seen = fresh.at(-1)?.id ?? seen;
    await sleep(LOOKS_EVERY_MS, undefined, { signal: interrupted }).catch(() => undefined);
  }
}
