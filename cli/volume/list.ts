import type { Command } from "commander";
import type { VolumeView } from "../../contract/volume.ts";
import { age } from "../age.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import { pairs } from "../key-values.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { table } from "../table.ts";

type Options = SessionOptions & { namespace?: string[] };

export function volumeListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list volumes, newest first", ["lamplighter volume list -n shop"])
    .alias("ls")
    .option("-n, --namespace <namespace>", "only of this namespace (repeat for several)", collect)
    .action(inSession(around, list));
}

async function list(session: Session, { namespace }: Options): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/volumes", { namespace }, Number.POSITIVE_INFINITY), (rows: VolumeView[]) =>
    rows.length === 0
      ? "No volumes.\n"
      : table<VolumeView>(
          [
            { title: "id", value: (v) => v.id, weight: 1 },
            { title: "name", value: (v) => v.name, paint: (text, _v, color) => color.bold(text) },
            { title: "namespace", value: (v) => v.namespace },
            { title: "backend", value: (v) => v.backend_type, weight: 2 },
            { title: "size", value: (v) => v.size ?? "–", weight: 3 },
            { title: "labels", value: (v) => pairs(v.labels).join(","), weight: 2, shrink: 10 },
            { title: "by", value: (v) => v.registered_by, weight: 2 },
            { title: "age", value: (v) => age(v.created_at, around.now()), align: "right", weight: 3 },
          ],
          rows,
          terminal.width,
          terminal.color,
        ),
  );
}
