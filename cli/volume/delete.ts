import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { deleteReferenced } from "../referenced.ts";
import { volumeId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { namespace?: string; force?: boolean };

export function volumeDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <volume...>", "delete volumes' entries; the data stays on the hosts", [
    "lamplighter volume delete uploads -n shop",
  ])
    .alias("rm")
    .option("-n, --namespace <namespace>", "the namespace that they are in")
    .option("-f, --force", "also while deployments mount it")
    .action(inSession(around, remove));
}

async function remove(session: Session, { namespace, force }: Options, volumes: string[]): Promise<void> {
  await each(session.terminal, volumes, async (volume) => {
    const id = await volumeId(session.api, volume, namespace);
    await deleteReferenced(session.api, `/volumes/${id}`, force === true);
    session.show(
      JSON.stringify({ id, deleted: true }),
      () => `Volume '${volume}' deleted; its data stays on the hosts that have some\n`,
    );
  });
}
