import type { Command } from "commander";
import type { ConfigView } from "../../contract/config.ts";
import { age } from "../age.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { table } from "../table.ts";

type Options = SessionOptions & { namespace?: string[] };

export function configListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list configs, newest first", ["lamplighter config list -n shop"])
    .alias("ls")
    .option("-n, --namespace <namespace>", "only of this namespace (repeat for several)", collect)
    .action(inSession(around, list));
}

async function list(session: Session, { namespace }: Options): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/configs", { namespace }, Number.POSITIVE_INFINITY), (rows: ConfigView[]) =>
    rows.length === 0
      ? "No configs.\n"
      : table<ConfigView>(
          [
            { title: "id", value: (c) => c.id, weight: 1 },
            { title: "name", value: (c) => c.name, paint: (text, _c, color) => color.bold(text) },
            { title: "created", value: (c) => `${age(c.created_at, around.now())} ago`, weight: 3 },
            {
              title: "updated",
              value: (c) => (c.updated_at === null ? "–" : `${age(c.updated_at, around.now())} ago`),
              weight: 2,
            },
            { title: "namespace", value: (c) => c.namespace },
            { title: "data", value: (c) => dataKeys(c.data), weight: 4, shrink: 16 },
          ],
          rows,
          terminal.width,
          terminal.color,
        ),
  );
}

/** The names of the entries, or how long the text is when it has none. */
export function dataKeys(data: string): string {
  try {
    const entries: unknown = JSON.parse(data);
    if (typeof entries === "object" && entries !== null && !Array.isArray(entries))
      return Object.keys(entries).join(", ");
  } catch {
    // Any text may be in a config.
  }
  return `${data.length} characters`;
}
