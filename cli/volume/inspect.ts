import type { Command } from "commander";
import type { VolumeView } from "../../contract/volume.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { pairs } from "../key-values.ts";
import { volumeId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";

type Options = SessionOptions & { namespace?: string };

export function volumeInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <volume>", "show a volume's entry", ["lamplighter volume inspect shop/uploads"])
    .option("-n, --namespace <namespace>", "the namespace that it is in")
    .action(inSession(around, inspect));
}

async function inspect(session: Session, { namespace }: Options, volume: string): Promise<void> {
  const { text } = await session.api.get(`/volumes/${await volumeId(session.api, volume, namespace)}`);
  const { terminal, around } = session;
  session.show(text, (view: VolumeView) =>
    sheet(terminal.color, terminal.width, [
      ["Id", view.id],
      ["Name", view.name],
      ["Namespace", view.namespace],
      ["Backend", view.backend_type],
      ["Size", view.size ?? ""],
      ["Labels", pairs(view.labels)],
      ["Registered by", view.registered_by],
      ["Created", `${age(view.created_at, around.now())} ago`],
      [
        "On hosts",
        `the engine's volume ${view.namespace}_${view.name}, on each host that an instance has mounted it on`,
      ],
    ]),
  );
}
