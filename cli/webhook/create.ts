import type { Command } from "commander";
import type { WebhookCreated } from "../../contract/webhook-endpoint.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type FilterOptions, filterOptions, filters } from "./filters.ts";
import { givenSecret } from "./secret.ts";

type Options = SessionOptions & FilterOptions & { secret?: string };

export function webhookCreateCommand(group: Command, around: Surroundings): void {
  filterOptions(
    serverCommand(
      group,
      "create <url>",
      "tell a URL of what happens; its id is the only thing on stdout, its secret is shown once",
      [
        "lamplighter webhook create https://ci.example.com/lamps",
        "lamplighter webhook create https://ops.example.com/in -e 'deployment.*' -e host.status_changed -n prod",
        "pass webhooks/ci | lamplighter webhook create https://ci.example.com/lamps --secret -",
      ],
    ),
  )
    .option("-s, --secret <secret>", "what to sign with, `-` reads it from standard input; otherwise one is drawn")
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, url: string): Promise<void> {
  const secret = await givenSecret(options.secret, session);
  const body = { url, ...filters(options), ...(secret === undefined ? {} : { secret }) };
  const { text } = await session.api.post("/webhooks", { body });
  if (session.showRaw(text)) return;
  const made = JSON.parse(text) as WebhookCreated;
  const { terminal } = session;
  terminal.err(`Webhook created. It signs with this secret, which is not shown again:\n  ${made.secret}\n`);
  terminal.out(`${made.id}\n`);
}
