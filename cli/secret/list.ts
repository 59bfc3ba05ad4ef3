import type { Command } from "commander";
import type { SecretView } from "../../contract/secret.ts";
import { age } from "../age.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { table } from "../table.ts";

type Options = SessionOptions & { namespace?: string[] };

export function secretListCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "list", "list secrets, newest first, without their values", ["lamplighter secret list -n shop"])
    .alias("ls")
    .option("-n, --namespace <namespace>", "only of this namespace (repeat for several)", collect)
    .action(inSession(around, list));
}

async function list(session: Session, { namespace }: Options): Promise<void> {
  const { terminal, around } = session;
  session.show(await session.list("/secrets", { namespace }, Number.POSITIVE_INFINITY), (rows: SecretView[]) =>
    rows.length === 0
      ? "No secrets.\n"
      : table<SecretView>(
          [
            { title: "id", value: (s) => s.id, weight: 1 },
            { title: "name", value: (s) => s.name, paint: (text, _s, color) => color.bold(text) },
            { title: "created", value: (s) => `${age(s.created_at, around.now())} ago`, weight: 3 },
            {
              title: "updated",
              value: (s) => (s.updated_at === null ? "–" : `${age(s.updated_at, around.now())} ago`),
              weight: 2,
            },
            { title: "namespace", value: (s) => s.namespace },
          ],
          rows,
          terminal.width,
          terminal.color,
        ),
  );
}
