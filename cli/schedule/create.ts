import { type Command, Option } from "commander";
import { CONCURRENCY_POLICIES, type ScheduleView } from "../../contract/schedule.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import { keyValues } from "../key-values.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & {
  namespace?: string;
  cron: string;
  timeZone?: string;
  concurrency?: string;
  startingDeadline?: string;
  suspend?: boolean;
  runtime?: string;
  image?: string;
  env?: string[];
};

export function scheduleCreateCommand(group: Command, around: Surroundings): void {
  serverCommand(group, "create <name> [command...]", "make a schedule, or change the one of this name", [
    "lamplighter schedule create backup --cron '30 2 * * *' --time-zone Europe/Berlin --image shop/backup:4",
    "lamplighter schedule create tidy --cron @hourly --runtime process -- /usr/local/bin/tidy --all",
  ])
    .requiredOption("--cron <expression>", "five or six fields, or @hourly, @daily, @weekly, @monthly, @yearly")
    .option("--time-zone <zone>", "an IANA name; otherwise UTC")
    .option("-n, --namespace <namespace>", "otherwise default")
    .addOption(
      new Option("--concurrency <policy>", "when the run before is still under way").choices(CONCURRENCY_POLICIES),
    )
    .option("--starting-deadline <duration>", "how late a missed time may still be started")
    .option("--suspend", "make it suspended")
    .option("--runtime <runtime>", "otherwise docker")
    .option("--image <image>", "the image to run")
    .option("-e, --env <name=value>", "a variable of the job's environment (repeat for several)", collect)
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, name: string, command: string[]): Promise<void> {
  const given = (fields: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const body = given({
    name,
    namespace: options.namespace,
    cron: options.cron,
    time_zone: options.timeZone,
    concurrency_policy: options.concurrency,
    starting_deadline: options.startingDeadline,
    suspend: options.suspend,
    job: given({
      runtime: options.runtime,
      image: options.image,
      command: command.length > 0 ? command : undefined,
      environment: options.env && keyValues(options.env, "--env"),
    }),
  });
  const { status, text } = await session.api.post("/schedules", { body });
  session.show(
    text,
    (view: ScheduleView) =>
      `schedule ${view.namespace}/${view.name} ${status === 201 ? "created" : "is so"} (${view.id}): ${view.message}\n`,
  );
}
