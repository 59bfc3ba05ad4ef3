import type { Command } from "commander";
import type { WebhookAttempt } from "../../contract/webhook-endpoint.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { said } from "./attempts.ts";

export function testCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "test <webhook>", "send a webhook.ping now, and show what was answered", [
    "lamplighter webhook test https://ci.example.com/lamps",
  ])
    .alias("ping")
    .action(inSession(around, test));
}

async function test(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const { text } = await session.api.post(`/webhooks/${await webhookId(session.api, reference)}/ping`);
  const attempt = JSON.parse(text) as WebhookAttempt;
  session.show(text, () =>
    attempt.outcome === "delivered" ? `delivered: answered ${attempt.status} in ${attempt.latency_ms} ms\n` : "",
  );
  if (attempt.outcome === "failed") throw new Failure(`not delivered: ${said(attempt)}`);
}
