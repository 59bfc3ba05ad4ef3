import type { Command } from "commander";
import { noun } from "../command.ts";
import type { Surroundings } from "../session.ts";
import { attemptsCommand } from "./attempts.ts";
import { webhookCreateCommand } from "./create.ts";
import { webhookDeleteCommand } from "./delete.ts";
import { deliveriesCommand } from "./deliveries.ts";
import { webhookEventsCommand } from "./events.ts";
import { webhookInspectCommand } from "./inspect.ts";
import { webhookListCommand } from "./list.ts";
import { redeliverCommand } from "./redeliver.ts";
import { rotateSecretCommand } from "./rotate-secret.ts";
import { testCommand } from "./test.ts";
import { webhookUpdateCommand } from "./update.ts";

const VERBS = [
  webhookCreateCommand,
  webhookListCommand,
  webhookInspectCommand,
  webhookUpdateCommand,
  webhookDeleteCommand,
  rotateSecretCommand,
  testCommand,
  deliveriesCommand,
  attemptsCommand,
  redeliverCommand,
  webhookEventsCommand,
];

export function webhookCommands(program: Command, around: Surroundings): void {
  const group = noun(program, "webhook", "have others told of what happens")
    .alias("webhooks")
    .addHelpText("after", "\nA webhook is given as its URL, as its id, or as the beginning of its id.");
  for (const verb of VERBS) verb(group, around);
}
