import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { namespaceAuditCommand } from "./audit.ts";
import { namespaceCreateCommand } from "./create.ts";
import { namespaceDeleteCommand } from "./delete.ts";
import { namespaceListCommand } from "./list.ts";
import { namespacePruneCommand } from "./prune.ts";

export function namespaceCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "namespace", "keep what belongs together apart from the rest").aliases([
    "namespaces",
    "ns",
  ]);
  for (const verb of [
    namespaceListCommand,
    namespaceCreateCommand,
    namespaceDeleteCommand,
    namespacePruneCommand,
    namespaceAuditCommand,
  ])
    verb(group, around);
}
