import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { tokenId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { showOnce } from "./create.ts";

export function rotateCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "rotate <token>",
    "give a token a new secret and end the old one; the new one is the only thing on stdout",
    ["lamplighter token rotate ci"],
  ).action(inSession(around, rotate));
}

async function rotate(session: Session, _options: SessionOptions, token: string): Promise<void> {
  showOnce(session, (await session.api.post(`/tokens/${await tokenId(session.api, token)}/rotate`)).text);
}
