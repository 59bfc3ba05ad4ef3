import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { scheduleActionCommands } from "./actions.ts";
import { scheduleCreateCommand } from "./create.ts";
import { scheduleDeleteCommand } from "./delete.ts";
import { scheduleEventsCommand } from "./events.ts";
import { scheduleInspectCommand } from "./inspect.ts";
import { scheduleListCommand } from "./list.ts";
import { scheduleRunsCommand } from "./runs.ts";

const VERBS = [
  scheduleCreateCommand,
  scheduleListCommand,
  scheduleInspectCommand,
  scheduleRunsCommand,
  scheduleEventsCommand,
  scheduleActionCommands,
  scheduleDeleteCommand,
];

export function scheduleCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "schedule", "run jobs at the times of a cron expression")
    .alias("schedules")
    .addHelpText(
      "after",
      "\nA schedule is given as its name, as namespace/name, as its id, or as the beginning of its id.\nEach run is a deployment: `lamplighter deployment logs RUN` shows what it wrote.",
    );
  for (const verb of VERBS) verb(group, around);
}
