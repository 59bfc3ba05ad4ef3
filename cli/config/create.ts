import type { Command } from "commander";
import type { ConfigView } from "../../contract/config.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type DataOptions, dataOf, dataOptions } from "./data.ts";

type Options = SessionOptions & DataOptions & { namespace: string };

export function configCreateCommand(group: Command, around: Surroundings): void {
  dataOptions(
    serverCommand(group, "create <name>", "make a config", [
      "lamplighter config create web -n shop --from-file app.json --from-literal level=debug",
      "lamplighter config create web --data - < data.json",
    ]),
  )
    .option("-n, --namespace <namespace>", "the namespace that it goes into", "default")
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, name: string): Promise<void> {
  const { namespace, labels } = options;
  const data = await dataOf(options, session.around.readStdin);
  const { text } = await session.api.post("/configs", { body: { namespace, name, data, labels } });
  session.show(text, ({ id }: ConfigView) => `Config '${name}' created in namespace '${namespace}' (id: ${id})\n`);
}
