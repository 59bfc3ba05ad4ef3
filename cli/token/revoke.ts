import { type Command, Option } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { tokenId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function revokeCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "revoke <token...>", "end tokens at once", ["lamplighter token revoke ci"])
    .addOption(new Option("-y, --yes", "taken for the sake of Ring's scripts; nothing is asked").hideHelp())
    .action(inSession(around, revoke));
}

async function revoke(session: Session, _options: SessionOptions, tokens: string[]): Promise<void> {
  await each(session.terminal, tokens, async (token) => {
    const id = await tokenId(session.api, token);
    await session.api.delete(`/tokens/${id}`);
    session.show(JSON.stringify({ id, revoked: true }), () => `token ${token} revoked\n`);
  });
}
