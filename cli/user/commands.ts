import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { userCreateCommand } from "./create.ts";
import { userDeleteCommand } from "./delete.ts";
import { userListCommand } from "./list.ts";
import { userUpdateCommand } from "./update.ts";

export function userCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "user", "say who may log in")
    .alias("users")
    .addHelpText("after", "\nA user is given as username, as id, or as the beginning of an id.");
  for (const verb of [userCreateCommand, userListCommand, userUpdateCommand, userDeleteCommand]) verb(group, around);
}
