import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { configCreateCommand } from "./create.ts";
import { configDeleteCommand } from "./delete.ts";
import { configInspectCommand } from "./inspect.ts";
import { configListCommand } from "./list.ts";
import { configUpdateCommand } from "./update.ts";

export function configCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "config", "keep settings and files that deployments refer to")
    .alias("configs")
    .addHelpText("after", "\nA config is given as namespace/name, as its name, or as its id.");
  for (const verb of [
    configListCommand,
    configInspectCommand,
    configCreateCommand,
    configUpdateCommand,
    configDeleteCommand,
  ])
    verb(group, around);
}
