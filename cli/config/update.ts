import type { Command } from "commander";
import type { ConfigView } from "../../contract/config.ts";
import { inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { configId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { type DataOptions, dataOf, dataOptions } from "./data.ts";

type Options = SessionOptions & DataOptions & { namespace?: string; merge?: boolean };

export function configUpdateCommand(group: Command, around: Surroundings): void {
  dataOptions(
    serverCommand(
      group,
      "update <config>",
      "put a config's data anew; apply the deployments again to have them use it",
      ["lamplighter config update web -n shop --from-file app.json"],
    ),
  )
    .option("-n, --namespace <namespace>", "the namespace that it is in")
    .option("--merge", "keep the entries that are not given")
    .action(inSession(around, update));
}

async function update(session: Session, options: Options, config: string): Promise<void> {
  const id = await configId(session.api, config, options.namespace);
  const before = JSON.parse((await session.api.get(`/configs/${id}`)).text) as ConfigView;
  const given = await dataOf(options, session.around.readStdin);
  const data =
    options.merge === true
      ? JSON.stringify({ ...entriesOf(before.data, "what it holds"), ...entriesOf(given, "what is given") })
      : given;
  const { text } = await session.api.put(`/configs/${id}`, {
    body: { name: before.name, data, labels: options.labels ?? before.labels },
    headers: { "if-match": `"r${before.revision}"` },
  });
  session.show(text, (view: ConfigView) =>
    view.revision === before.revision
      ? `Config '${view.name}' unchanged in namespace '${view.namespace}'\n`
      : `Config '${view.name}' updated in namespace '${view.namespace}'\n`,
  );
}

function entriesOf(data: string, what: string): object {
  try {
    const entries = JSON.parse(data) as unknown;
    if (typeof entries === "object" && entries !== null && !Array.isArray(entries)) return entries;
  } catch {
    // Told below: a text of any other form has no entries either.
  }
  throw new Failure(`--merge: ${what} is not a JSON object, so there are no entries to keep`);
}
