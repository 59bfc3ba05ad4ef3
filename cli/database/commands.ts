import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { databaseAcceptLossCommand } from "./accept-loss.ts";
import { databaseConnectCommand } from "./connect.ts";
import { databaseCreateCommand } from "./create.ts";
import { databaseCredentialsCommands } from "./credentials.ts";
import { databaseDeleteCommand } from "./delete.ts";
import { databaseEventsCommand } from "./events.ts";
import { databaseExplainCommand } from "./explain.ts";
import { databaseInspectCommand } from "./inspect.ts";
import { databaseLeasesCommand } from "./leases.ts";
import { databaseListCommand } from "./list.ts";
import { databaseQueryCommand } from "./query.ts";
import { databaseRestoreCommand } from "./restore.ts";
import { databaseUpdateCommand } from "./update.ts";

const VERBS = [
  databaseCreateCommand,
  databaseListCommand,
  databaseInspectCommand,
  databaseConnectCommand,
  databaseQueryCommand,
  databaseLeasesCommand,
  databaseEventsCommand,
  databaseExplainCommand,
  databaseUpdateCommand,
  databaseCredentialsCommands,
  databaseRestoreCommand,
  databaseAcceptLossCommand,
  databaseDeleteCommand,
];

export function databaseCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "database", "PostgreSQL that wakes on the first connection, and sleeps when idle")
    .alias("databases")
    .alias("db")
    .addHelpText(
      "after",
      "\nA database is given as its name, as namespace/name, as its id, or as the beginning of its id.\nIt is started by connecting to it, and stopped when nobody is: neither is done by hand.",
    );
  for (const verb of VERBS) verb(group, around);
}
