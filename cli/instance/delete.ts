import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { instanceId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function instanceDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <instance...>", "delete the records of instances of which nothing runs", [
    "lamplighter instance terminate shop-read --wait && lamplighter instance delete shop-read",
  ])
    .alias("rm")
    .action(inSession(around, remove));
}

async function remove(session: Session, _options: SessionOptions, instances: string[]): Promise<void> {
  await each(session.terminal, instances, async (instance) => {
    const id = await instanceId(session.api, instance);
    await session.api.delete(`/instances/${id}`);
    session.show(JSON.stringify({ id, deleted: true }), () => `instance ${instance} deleted\n`);
  });
}
