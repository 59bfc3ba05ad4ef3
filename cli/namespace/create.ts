import type { Command } from "commander";
import type { NamespaceView } from "../../contract/namespace.ts";
import { inSession, serverCommand } from "../command.ts";
import { each } from "../each.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

export function namespaceCreateCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "create <name...>", "make namespaces", ["lamplighter namespace create shop"]).action(
    inSession(around, create),
  );
}

async function create(session: Session, _options: SessionOptions, names: string[]): Promise<void> {
  await each(session.terminal, names, async (name) => {
    const { text } = await session.api.post("/namespaces", { body: { name } });
    session.show(text, ({ id }: NamespaceView) => `Namespace '${name}' created (id: ${id})\n`);
  });
}
