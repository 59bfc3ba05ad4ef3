import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function databaseDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "delete <database...>",
    "delete databases, with everything in them and all that is kept of them",
    ["lamplighter database delete scratch"],
  )
    .alias("rm")
    .action(inSession(around, remove));
}

async function remove(session: Session, _options: SessionOptions, databases: string[]): Promise<void> {
  await each(session.terminal, databases, async (database) => {
    const id = await databaseId(session.api, database);
    await session.api.delete(`/databases/${id}`);
    session.show(JSON.stringify({ id, deleted: true }), () => `database ${database} deleted\n`);
  });
}
