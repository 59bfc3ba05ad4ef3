import type { Command } from "commander";
import type { SecretView } from "../../contract/secret.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { givenValue, type ValueOptions, valueOptions } from "./value.ts";

type Options = SessionOptions & ValueOptions & { namespace: string };

export function secretCreateCommand(group: Command, around: Surroundings): void {
  valueOptions(
    serverCommand(group, "create <name>", "make a secret; without a flag the value is read from standard input", [
      "pass db/shop | lamplighter secret create db-password -n shop",
      "lamplighter secret create tls-key -n shop --from-file tls.key",
      "lamplighter secret create registry --from-file ~/.docker/config.json",
    ]),
  )
    .option("-n, --namespace <namespace>", "the namespace that it goes into", "default")
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, name: string): Promise<void> {
  const { namespace } = options;
  const value = await givenValue(options, session);
  const { text } = await session.api.post("/secrets", { body: { namespace, name, value } });
  session.show(text, ({ id }: SecretView) => `Secret '${name}' created in namespace '${namespace}' (id: ${id})\n`);
}
