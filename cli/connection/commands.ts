import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { connectionCreateCommand } from "./create.ts";
import { connectionDeleteCommand } from "./delete.ts";
import { connectionEventsCommand } from "./events.ts";
import { connectionInspectCommand } from "./inspect.ts";
import { connectionListCommand } from "./list.ts";
import { connectionTestCommand } from "./test.ts";
import { connectionUpdateCommand } from "./update.ts";

export function connectionCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "connection", "say how instances reach their sources")
    .alias("connections")
    .addHelpText(
      "after",
      "\nA connection is given as its name, as namespace/name, as its id, or as the beginning of its id.",
    );
  for (const verb of [
    connectionCreateCommand,
    connectionListCommand,
    connectionInspectCommand,
    connectionTestCommand,
    connectionUpdateCommand,
    connectionDeleteCommand,
    connectionEventsCommand,
  ])
    verb(group, around);
}
