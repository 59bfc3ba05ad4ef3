import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { drainCommand } from "./drain.ts";
import { hostEventsCommand } from "./events.ts";
import { hostInspectCommand } from "./inspect.ts";
import { joinTokenCommand } from "./join-token.ts";
import { hostListCommand } from "./list.ts";
import { removeCommand } from "./remove.ts";
import { schedulingCommands } from "./scheduling.ts";

const VERBS = [
  hostListCommand,
  hostInspectCommand,
  hostEventsCommand,
  joinTokenCommand,
  schedulingCommands,
  drainCommand,
  removeCommand,
];

export function hostCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "host", "see and steer the machines that workloads run on")
    .alias("hosts")
    .addHelpText("after", "\nA host is given as its name, as its id, or as the beginning of its id.");
  for (const verb of VERBS) verb(group, around);
}
