import type { Command } from "commander";
import type { HookDelivery } from "../../contract/hook.ts";
import { inSession, positive, serverCommand } from "../command.ts";
import { clock } from "../journal.ts";
import { hookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type Column, table } from "../table.ts";
import { oneLine } from "../terminal.ts";

type Options = SessionOptions & { limit: number };

export function hookDeliveriesCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "deliveries <hook>", "show the calls of a hook, and what came of each", [
    "lamplighter hook deliveries shop/web",
  ])
    .option("--limit <n>", "at most this many", positive, 50)
    .action(inSession(around, deliveries));
}

async function deliveries(session: Session, { limit }: Options, reference: string): Promise<void> {
  const { text } = await session.api.get(`/hooks/${await hookId(session.api, reference)}/deliveries`, {
    query: { limit },
  });
  session.show(text, (rows: HookDelivery[]) => hookDeliveryTable(session, rows));
}

export const hookDeliveryTable = ({ terminal }: Session, rows: HookDelivery[]): string =>
  rows.length === 0 ? "No calls.\n" : table(COLUMNS, rows, terminal.width, terminal.color);

const COLUMNS: Column<HookDelivery>[] = [
  { title: "time", value: (d) => clock(d.at) },
  { title: "delivery", value: (d) => oneLine(d.id), weight: 2, shrink: 12 },
  {
    title: "outcome",
    value: (d) => d.outcome,
    paint: (text, { outcome }, color) =>
      outcome === "applied" ? color.green(text) : outcome === "failed" ? color.red(text) : color.dim(text),
  },
  { title: "image", value: (d) => d.image ?? "–", weight: 3, shrink: 20 },
  { title: "deployment", value: (d) => d.deployment_id ?? "–", weight: 4 },
  { title: "", value: (d) => oneLine(d.message), weight: 1, shrink: 20 },
];
