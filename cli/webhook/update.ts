import type { Command } from "commander";
import type { WebhookView } from "../../contract/webhook-endpoint.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type FilterOptions, filterOptions, filters } from "./filters.ts";

type Options = SessionOptions &
  FilterOptions & {
    to?: string;
    allNamespaces?: boolean;
    allLabels?: boolean;
    enable?: boolean;
    disable?: boolean;
  };

export function webhookUpdateCommand(group: Command, around: Surroundings): void {
  filterOptions(
    serverCommand(group, "update <webhook>", "change a webhook; what is not given stays", [
      "lamplighter webhook update https://ci.example.com/lamps -e 'deployment.*' -n prod",
      "lamplighter webhook update whk_01k… --to https://ci.example.com/new",
      "lamplighter webhook update whk_01k… --enable",
    ]),
  )
    .option("--no-ring-headers", "without X-Ring-Event and X-Ring-Signature")
    .option("--to <url>", "where to send to from now on")
    .option("--all-namespaces", "of all namespaces again")
    .option("--all-labels", "whatever the labels again")
    .option("--enable", "go on, with what waits first")
    .option("--disable", "send nothing, take no new events; what waits stays")
    .action(inSession(around, update));
}

async function update(session: Session, options: Options, reference: string): Promise<void> {
  const { to, allNamespaces, allLabels, enable, disable } = options;
  if (enable && disable) throw new Failure("--enable and --disable at once");
  const body = {
    ...filters(options),
    ...(to === undefined ? {} : { url: to }),
    ...(allNamespaces ? { namespaces: [] } : {}),
    ...(allLabels ? { labels: {} } : {}),
    ...(enable || disable ? { status: enable ? "active" : "disabled" } : {}),
  };
  if (Object.keys(body).length === 0) throw new Failure("nothing to change: give at least one flag");
  const { text } = await session.api.patch(`/webhooks/${await webhookId(session.api, reference)}`, { body });
  session.show(text, ({ status, message }: WebhookView) => `webhook ${reference} is ${status}: ${message}\n`);
}
