import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { deleteReferenced } from "../referenced.ts";
import { configId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { namespace?: string; force?: boolean };

export function configDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <config...>", "delete configs; refused while deployments refer to one", [
    "lamplighter config delete web -n shop",
  ])
    .alias("rm")
    .option("-n, --namespace <namespace>", "the namespace that they are in")
    .option("-f, --force", "also while deployments refer to it")
    .action(inSession(around, remove));
}

async function remove(session: Session, { namespace, force }: Options, configs: string[]): Promise<void> {
  await each(session.terminal, configs, async (config) => {
    const id = await configId(session.api, config, namespace);
    await deleteReferenced(session.api, `/configs/${id}`, force === true);
    session.show(JSON.stringify({ id, deleted: true }), () => `Config '${config}' deleted\n`);
  });
}
