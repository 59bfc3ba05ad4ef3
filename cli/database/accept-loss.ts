import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function databaseAcceptLossCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "accept-loss <database>",
    "start a database with what is left of it, when commits are nowhere to be found; there is no way back",
    ["lamplighter database accept-loss shop"],
  ).action(inSession(around, acceptLoss));
}

async function acceptLoss(session: Session, _options: SessionOptions, reference: string): Promise<void> {
  const id = await databaseId(session.api, reference);
  const { text } = await session.api.post(`/databases/${id}/accept-loss`);
  session.show(text, () => `the next connection starts ${reference} with what is left of it\n`);
}
