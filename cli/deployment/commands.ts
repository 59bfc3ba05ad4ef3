import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { deleteCommand } from "./delete.ts";
import { eventsCommand } from "./events.ts";
import { execCommand } from "./exec.ts";
import { explainCommand } from "./explain.ts";
import { healthChecksCommand } from "./health-checks.ts";
import { inspectCommand } from "./inspect.ts";
import { listCommand } from "./list.ts";
import { logsCommand } from "./logs.ts";
import { metricsCommand } from "./metrics.ts";
import { rollbackCommand } from "./rollback.ts";
import { rolloutCommands } from "./rollout.ts";
import { scaleCommand } from "./scale.ts";

const VERBS = [
  listCommand,
  inspectCommand,
  eventsCommand,
  logsCommand,
  metricsCommand,
  healthChecksCommand,
  explainCommand,
  execCommand,
  scaleCommand,
  rolloutCommands,
  rollbackCommand,
  deleteCommand,
];

export function deploymentCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "deployment", "see and delete what has been applied")
    .alias("deployments")
    .addHelpText(
      "after",
      "\nA deployment is given as its name, as namespace/name, as its id, or as the beginning of its id.",
    );
  for (const verb of VERBS) verb(group, around);
}
