import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { volumeCreateCommand } from "./create.ts";
import { volumeDeleteCommand } from "./delete.ts";
import { volumeInspectCommand } from "./inspect.ts";
import { volumeListCommand } from "./list.ts";

export function volumeCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "volume", "see the named volumes that deployments mount")
    .alias("volumes")
    .addHelpText(
      "after",
      "\nA volume is given as namespace/name, as its name, or as its id. Its data is on the hosts, and stays there when its entry is deleted.",
    );
  for (const verb of [volumeListCommand, volumeCreateCommand, volumeInspectCommand, volumeDeleteCommand])
    verb(group, around);
}
