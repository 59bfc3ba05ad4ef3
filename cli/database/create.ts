import { type Command, Option } from "commander";
import type { DatabaseView } from "../../contract/database.ts";
import { ProfileName } from "../../contract/database-profile.ts";
import { parseDuration } from "../../contract/quantity.ts";
import { collect, inSession, serverCommand } from "../command.ts";
import { Failure } from "../failure.ts";
import { keyValues } from "../key-values.ts";
import type { Session, SessionOptions, Surroundings } from "../session.ts";

type Options = SessionOptions & {
  namespace?: string;
  profile?: string;
  idleTimeout?: string;
  /** False: none. */
  label?: string[] | false;
  allow?: string[] | false;
  placement?: string[];
};

/** An answer with a password in it. */
export type WithPassword = { role: string; password: string; dsn: string };

export const profileOption = (): Option =>
  new Option("--profile <size>", "how large its writer is").choices(ProfileName.options);

export function databaseCreateCommand(group: Command, around: Surroundings): void {
  serverCommand(
    group,
    "create <name>",
    "make a database; how to connect, with the password, is shown once, and is the only thing on stdout",
    [
      "lamplighter database create shop",
      "lamplighter database create shop -n prod --profile L2 --idle-timeout 15m",
      "lamplighter database create shop --placement zone=eu",
      'psql "$(lamplighter database create scratch)"',
    ],
  )
    .option("-n, --namespace <namespace>", "otherwise default")
    .addOption(profileOption())
    .option("--idle-timeout <duration>", "how long without any connection until it is stopped; 0: never; otherwise 5m")
    .option("-l, --label <key=value>", "a label (repeat for several)", collect)
    .option("--allow <cidr>", "where clients may come from (repeat for several); otherwise from anywhere", collect)
    .option("--placement <key=value>", "a label that a host must have to run it (repeat for several)", collect)
    .action(inSession(around, create));
}

async function create(session: Session, options: Options, name: string): Promise<void> {
  const body = {
    name,
    ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
    ...settingsOf(options),
    ...(options.placement === undefined ? {} : { placement: { labels: keyValues(options.placement, "--placement") } }),
  };
  const { text } = await session.api.post("/databases", { body, headers: { prefer: "wait=20" } });
  showDsnOnce(session, text, whatWasMade);
}

/** One that nobody can connect to yet says why. */
function whatWasMade({ namespace, name, id, state, message }: DatabaseView): string {
  const isThere = state !== "creating" && state !== "error";
  return `Database ${namespace}/${name} (${id}) is ${isThere ? "there." : `made, and ${state}: ${message}`}`;
}

/** What may be said when it is made, and changed later. */
export function settingsOf(options: Omit<Options, "namespace">): Record<string, unknown> {
  const { profile, idleTimeout, label, allow } = options;
  return {
    ...(profile === undefined ? {} : { profile }),
    ...(idleTimeout === undefined ? {} : { idle_timeout: seconds(idleTimeout) }),
    ...(label === undefined ? {} : { labels: keyValues(label || [], "--label") }),
    ...(allow === undefined ? {} : { allowed_addresses: allow || [] }),
  };
}

function seconds(text: string): number {
  if (text === "0") return 0;
  const ms = parseDuration(text);
  if (ms === null) throw new Failure(`--idle-timeout '${text}': expected a duration such as 90s or 15m, or 0`);
  if (ms === 0 || ms % 1000 !== 0)
    throw new Failure(`--idle-timeout '${text}': expected whole seconds such as 90s, or 0 for never`);
  return ms / 1000;
}

/** How to connect goes to stdout alone, so that `$(…)` catches just that. */
export function showDsnOnce<T>(session: Session, text: string, about: (view: T) => string): void {
  if (session.showRaw(text)) return;
  const answer = JSON.parse(text) as T & WithPassword;
  session.terminal.err(`${about(answer)}\n`);
  session.terminal.err("The password in it is not shown again:\n");
  session.terminal.out(`${answer.dsn}\n`);
}
