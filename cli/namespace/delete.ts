import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function namespaceDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <name...>", "delete namespaces that nothing is in", [
    "lamplighter namespace delete shop",
  ])
    .alias("rm")
    .action(inSession(around, remove));
}

async function remove(session: Session, _options: SessionOptions, names: string[]): Promise<void> {
  await each(session.terminal, names, async (name) => {
    await session.api.delete(`/namespaces/${encodeURIComponent(name)}`);
    session.show(JSON.stringify({ name, deleted: true }), () => `Namespace '${name}' deleted\n`);
  });
}
