import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { hookId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function hookDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <hook...>", "end hooks: their addresses answer nobody any more", [
    "lamplighter hook delete shop/web",
  ])
    .alias("rm")
    .action(inSession(around, remove));
}

async function remove(session: Session, _options: SessionOptions, hooks: string[]): Promise<void> {
  await each(session.terminal, hooks, async (hook) => {
    const id = await hookId(session.api, hook);
    await session.api.delete(`/hooks/${id}`);
    session.show(JSON.stringify({ id, deleted: true }), () => `hook ${hook} deleted\n`);
  });
}
