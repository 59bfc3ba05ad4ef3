import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { connectionId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function connectionDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <connection...>", "delete connections that no instance uses", [
    "lamplighter connection delete shop-mysql",
  ])
    .alias("rm")
    .action(inSession(around, remove));
}

async function remove(session: Session, _options: SessionOptions, connections: string[]): Promise<void> {
  await each(session.terminal, connections, async (connection) => {
    const id = await connectionId(session.api, connection);
    await session.api.delete(`/connections/${id}`);
    session.show(JSON.stringify({ id, deleted: true }), () => `connection ${connection} deleted\n`);
  });
}
