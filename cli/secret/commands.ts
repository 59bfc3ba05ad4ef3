import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { secretCreateCommand } from "./create.ts";
import { secretDeleteCommand } from "./delete.ts";
import { secretListCommand } from "./list.ts";
import { resealCommand } from "./reseal.ts";
import { secretUpdateCommand } from "./update.ts";

export function secretCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "secret", "keep passwords and keys that deployments refer to")
    .alias("secrets")
    .addHelpText(
      "after",
      "\nA secret is given as namespace/name, as its name, or as its id. Its value is never shown.",
    );
  for (const verb of [secretCreateCommand, secretListCommand, secretUpdateCommand, secretDeleteCommand, resealCommand])
    verb(group, around);
}
