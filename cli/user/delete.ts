import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { userId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function userDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <user...>", "delete users; their sessions and tokens end", [
    "lamplighter user delete ada",
  ])
    .alias("rm")
    .action(inSession(around, remove));
}

async function remove(session: Session, _options: SessionOptions, users: string[]): Promise<void> {
  await each(session.terminal, users, async (user) => {
    const id = await userId(session.api, user);
    await session.api.delete(`/users/${id}`);
    session.show(JSON.stringify({ id, deleted: true }), () => `user ${user} deleted\n`);
  });
}
