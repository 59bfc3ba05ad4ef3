import type { Command } from "commander";
import type { WebhookCreated } from "../../contract/webhook-endpoint.ts";
import { inSession, serverCommand } from "../command.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { givenSecret } from "./secret.ts";

type Options = SessionOptions & { secret?: string; overlap?: string };

export function rotateSecretCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "rotate-secret <webhook>",
    "give a webhook a new secret, which is the only thing on stdout; the old one signs as well for a while",
    [
      "lamplighter webhook rotate-secret https://ci.example.com/lamps",
      "lamplighter webhook rotate-secret whk_01k… --overlap 0s",
    ],
  )
    .option("-s, --secret <secret>", "the new one, `-` reads it from standard input; otherwise it is drawn")
    .option("--overlap <duration>", "how long the old one signs as well, 7d at most (default: 24h)")
    .action(inSession(around, rotate));
}

async function rotate(session: Session, options: Options, reference: string): Promise<void> {
  const id = await webhookId(session.api, reference);
  const secret = await givenSecret(options.secret, session);
  const { overlap } = options;
  const body = { ...(secret === undefined ? {} : { secret }), ...(overlap === undefined ? {} : { overlap }) };
  const { text } = await session.api.post(`/webhooks/${id}/rotate-secret`, { body });
  if (session.showRaw(text)) return;
  const rotated = JSON.parse(text) as WebhookCreated;
  session.terminal.err(
    `${rotated.secrets === 1 ? "Only the new secret signs now" : "Both secrets sign for a while"}. It is not shown again:\n`,
  );
  session.terminal.out(`${rotated.secret}\n`);
}
