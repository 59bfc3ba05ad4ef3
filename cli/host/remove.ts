import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { Failure, Interrupted } from "../failure.ts";
import { hostId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { force?: boolean };

export function removeCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "remove <host...>", "take hosts out for good", [
    "lamplighter host remove worker-3",
    "lamplighter host remove worker-3 --force",
  ])
    .alias("rm")
    .option("--force", "though workloads are on it: the machine is gone, or they may die")
    .action(inSession(around, remove));
}

async function remove(session: Session, options: Options, hosts: string[]): Promise<void> {
  await each(session.terminal, hosts, async (host) => {
    const id = await hostId(session.api, host);
    try {
      await session.api.delete(`/hosts/${id}`, { query: { force: options.force } });
    } catch (error) {
      throw error instanceof Failure && !(error instanceof Interrupted)
        ? error.during(`cannot remove host '${host}'`)
        : error;
    }
    session.show(JSON.stringify({ id, removed: true }), () => `host ${host} removed\n`);
  });
}
