import type { Command } from "commander";
import type { VolumeView } from "../../contract/volume.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import { keyValues } from "../key-values.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & { namespace: string; size?: string; backend?: string; label?: string[] };

export function volumeCreateCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "create <name>", "register a volume before a manifest names it", [
    "lamplighter volume create uploads -n shop",
  ])
    .option("-n, --namespace <namespace>", "the namespace that it goes into", "default")
    .option("--size <size>", "a note for people: nothing enforces it")
    .option("--backend <type>", "local or directory")
    .option("-l, --label <key=value>", "a label (repeat for several)", collect)
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, name: string): Promise<void> {
  const { namespace, size, backend, label } = options;
  const labels = label === undefined ? undefined : keyValues(label, "--label");
  const { text } = await session.api.post("/volumes", {
    body: { namespace, name, size, backend_type: backend, labels },
  });
  session.show(text, ({ id }: VolumeView) => `Volume '${name}' created in namespace '${namespace}' (id: ${id})\n`);
}
