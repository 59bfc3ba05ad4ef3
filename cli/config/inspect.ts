import type { Command } from "commander";
import type { ConfigView } from "../../contract/config.ts";
import { age } from "../age.ts";
import { inSession, serverCommand } from "../command.ts";
import { configId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { sheet } from "../sheet.ts";

type Options = SessionOptions & { namespace?: string };

export function configInspectCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "inspect <config>", "show a config and its data", [
    "lamplighter config inspect shop/web",
    "lamplighter config inspect web -n shop -o json",
  ])
    .option("-n, --namespace <namespace>", "the namespace that it is in")
    .action(inSession(around, inspect));
}

async function inspect(session: Session, { namespace }: Options, config: string): Promise<void> {
  const { text } = await session.api.get(`/configs/${await configId(session.api, config, namespace)}`);
  const { terminal, around } = session;
  session.show(text, (view: ConfigView) => {
    const head = sheet(terminal.color, terminal.width, [
      ["Id", view.id],
      ["Name", view.name],
      ["Namespace", view.namespace],
      ["Created", `${age(view.created_at, around.now())} ago`],
      ["Updated", view.updated_at === null ? "" : `${age(view.updated_at, around.now())} ago`],
      ["Labels", view.labels ?? ""],
      ["Revision", String(view.revision)],
    ]);
    return `${head}\n${entriesText(view.data)}`;
  });
}

/** Each entry under its name; a text without entries as it is. */
function entriesText(data: string): string {
  try {
    const entries: unknown = JSON.parse(data);
    if (typeof entries === "object" && entries !== null && !Array.isArray(entries))
      return Object.entries(entries)
        .map(([key, value]) => `--- ${key}\n${typeof value === "string" ? value : JSON.stringify(value)}\n`)
        .join("");
  } catch {
    // Any text may be in a config.
  }
  return `${data}\n`;
}
