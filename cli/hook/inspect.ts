import type { Command } from "commander";
import type { HookDelivery, HookView } from "../../contract/hook.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { hookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";
import { oneLine, type Terminal } from "../terminal.ts";
import { hookDeliveryTable } from "./deliveries.ts";
import { takes } from "./list.ts";

export function hookInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <hook>", "show a hook and its newest calls", [
    "lamplighter hook inspect shop/web",
  ]).action(inSession(around, inspect));
}

async function inspect(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { api, terminal, around } = session;
  const id = await hookId(api, reference);
  const { text } = await api.get(`/hooks/${id}`);
  const { text: calls } = await api.get(`/hooks/${id}/deliveries`, { query: { limit: 10 } });
  session.show(
    text,
    (view: HookView) =>
      `${describe(view, api.url, terminal, around.now())}\n${hookDeliveryTable(session, JSON.parse(calls) as HookDelivery[])}`,
  );
}

const describe = (view: HookView, url: string, { color, width }: Terminal, now: number): string =>
  sheet(color, width, [
    ["Deployment", color.bold(`${view.namespace}/${view.deployment}`)],
    ["Id", view.id],
    ["Address", `${url}${view.path}`],
    ["Source", view.source],
    ["Takes", takes(view)],
    ["Image", view.image ?? "as pushed"],
    ["For", oneLine(view.description)],
    ["Created", `${age(view.created_at, now)} ago  ${color.dim(view.created_at)}`],
  ]);
