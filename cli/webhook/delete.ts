import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { webhookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function webhookDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <webhook...>", "revoke webhooks: nothing more is sent, what waits included", [
    "lamplighter webhook delete https://ci.example.com/lamps",
  ])
    .alias("rm")
    .action(inSession(around, remove));
}

async function remove(session: Session, _options: SessionOptions, webhooks: string[]): Promise<void> {
  await each(session.terminal, webhooks, async (webhook) => {
    const id = await webhookId(session.api, webhook);
    await session.api.delete(`/webhooks/${id}`);
    session.show(JSON.stringify({ id, revoked: true }), () => `webhook ${webhook} revoked\n`);
  });
}
