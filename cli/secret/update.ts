import type { Command } from "commander";
import type { SecretView } from "../../contract/secret.ts";
import { inSession, serverCommand } from "../command.ts";
import { secretId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { givenValue, type ValueOptions, valueOptions } from "./value.ts";

type Options = SessionOptions & ValueOptions & { namespace?: string };

export function secretUpdateCommand(group: Command, around: Surroundings): void {
  valueOptions(
    serverCommand(
      group,
      "update <secret>",
      "put a secret's value anew; apply the deployments again to have them use it",
      ["pass db/shop | lamplighter secret update shop/db-password"],
    ),
  )
    .option("-n, --namespace <namespace>", "the namespace that it is in")
    .action(inSession(around, update));
}

async function update(session: Session, options: Options, secret: string): Promise<void> {
  const id = await secretId(session.api, secret, options.namespace);
  const value = await givenValue(options, session);
  const { text } = await session.api.put(`/secrets/${id}`, { body: { value } });
  session.show(text, ({ name, namespace }: SecretView) => `Secret '${name}' updated in namespace '${namespace}'\n`);
}
