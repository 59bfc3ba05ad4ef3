import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { hookCreateCommand } from "./create.ts";
import { hookDeleteCommand } from "./delete.ts";
import { hookDeliveriesCommand } from "./deliveries.ts";
import { hookInspectCommand } from "./inspect.ts";
import { hookListCommand } from "./list.ts";

const VERBS = [hookCreateCommand, hookListCommand, hookInspectCommand, hookDeliveriesCommand, hookDeleteCommand];

export function hookCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "hook", "deploy what a registry or Git forge tells of")
    .alias("hooks")
    .addHelpText("after", "\nA hook is given as its id, as the beginning of its id, or as namespace/deployment.");
  for (const verb of VERBS) verb(group, around);
}
