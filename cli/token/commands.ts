import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { createCommand } from "./create.ts";
import { tokenListCommand } from "./list.ts";
import { revokeCommand } from "./revoke.ts";
import { rotateCommand } from "./rotate.ts";

export function tokenCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "token", "say who may do what")
    .alias("tokens")
    .addHelpText("after", "\nA token is given as its name, as its id, or as the beginning of its id.");
  for (const verb of [createCommand, tokenListCommand, revokeCommand, rotateCommand]) verb(group, around);
}
