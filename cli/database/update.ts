import type { Command } from "commander";
import type { DatabaseView } from "../../contract/database.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { databaseId } from "../resolve.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";
import { profileOption, settingsOf } from "./create.ts";

type Options = SessionOptions & Parameters<typeof settingsOf>[0];

export function databaseUpdateCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "update <database>", "change a database; another profile is that of the next start", [
    "lamplighter database update shop --idle-timeout 15m",
    "lamplighter database update shop --profile L2",
    "lamplighter database update shop --allow 10.0.0.0/8 --no-label",
  ])
    .addOption(profileOption())
    .option("--idle-timeout <duration>", "how long without any connection until it is stopped; 0: never")
    .option("-l, --label <key=value>", "a label, in place of all that are there (repeat for several)", collect)
    .option("--no-label", "no labels any more")
    .option("--allow <cidr>", "where clients may come from, in place of before (repeat for several)", collect)
    .option("--no-allow", "clients may come from anywhere")
    .action(inSession(around, update));
}

async function update(session: Session, options: Options, reference: string): Promise<void> {
  const body = settingsOf(options);
  if (Object.keys(body).length === 0) throw new Failure("there is nothing to change", { hint: "See --help." });
  const id = await databaseId(session.api, reference);
  const { text } = await session.api.patch(`/databases/${id}`, { body });
  session.show(text, (view: DatabaseView) => `database ${view.namespace}/${view.name} changed\n`);
}
