import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { instanceActionCommands } from "./actions.ts";
import { buildsCommand } from "./builds.ts";
import { cancelBuildCommand } from "./cancel-build.ts";
import { instanceCreateCommand } from "./create.ts";
import { instanceDeleteCommand } from "./delete.ts";
import { instanceEventsCommand } from "./events.ts";
import { instanceInspectCommand } from "./inspect.ts";
import { inspectBuildCommand } from "./inspect-build.ts";
import { instanceKeyCommands } from "./keys.ts";
import { instanceListCommand } from "./list.ts";
import { instanceLogsCommand } from "./logs.ts";
import { instanceQueryCommand } from "./query.ts";
import { instanceUpdateCommand } from "./update.ts";

const VERBS = [
  instanceCreateCommand,
  instanceListCommand,
  instanceInspectCommand,
  instanceUpdateCommand,
  instanceActionCommands,
  instanceDeleteCommand,
  buildsCommand,
  inspectBuildCommand,
  cancelBuildCommand,
  instanceKeyCommands,
  instanceQueryCommand,
  instanceLogsCommand,
  instanceEventsCommand,
];

export function instanceCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "instance", "read engines compiled from a schema, kept fresh from their source")
    .alias("instances")
    .addHelpText(
      "after",
      "\nAn instance is given as its name, as namespace/name, as its id, or as the beginning of its id.\nAn action that cannot be done now may be queued: it is done when a stable status is reached.",
    );
  for (const verb of VERBS) verb(group, around);
}
