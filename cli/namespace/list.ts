import type { Command } from "commander";
import type { NamespaceView } from "../../contract/namespace.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import type { Session, Surroundings } from "../session.ts";
import { table } from "../table.ts";

export function namespaceListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list namespaces by name", ["lamplighter namespace list"])
    .alias("ls")
    .action(inSession(around, list));
}

async function list(session: Session): Promise<void> {
  const { terminal, around } = session;
  session.show((await session.api.get("/namespaces")).text, (rows: NamespaceView[]) =>
    rows.length === 0
      ? "No namespaces.\n"
      : table<NamespaceView>(
          [
            { title: "id", value: (n) => n.id, weight: 1 },
            { title: "name", value: (n) => n.name, paint: (text, _n, color) => color.bold(text) },
            { title: "age", value: (n) => age(n.created_at, around.now()), align: "right" },
          ],
          rows,
          terminal.width,
          terminal.color,
        ),
  );
}
