import type { Command } from "commander";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import { deleteReferenced } from "../referenced.ts";
import { secretId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { namespace?: string; force?: boolean };

export function secretDeleteCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "delete <secret...>", "delete secrets; refused while deployments refer to one", [
    "lamplighter secret delete db-password -n shop",
  ])
    .alias("rm")
    .option("-n, --namespace <namespace>", "the namespace that they are in")
    .option("-f, --force", "also while deployments refer to it")
    .action(inSession(around, remove));
}

async function remove(session: Session, { namespace, force }: Options, secrets: string[]): Promise<void> {
  await each(session.terminal, secrets, async (secret) => {
    const id = await secretId(session.api, secret, namespace);
    await deleteReferenced(session.api, `/secrets/${id}`, force === true);
    session.show(JSON.stringify({ id, deleted: true }), () => `Secret '${secret}' deleted\n`);
  });
}
