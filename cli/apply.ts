import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import type { DeploymentView } from "../contract/deployment.ts";
import { collect, inSession, serverCommand, timeoutOption } from "./command.ts";
import { applyConfig } from "./config/apply.ts";
import { type Rehearsal, rehearsed } from "./diff.ts";
import { Failure, Interrupted, Refused } from "./failure.ts";
import { allInOrder, inOrder } from "./in-order.ts";
import { type Declarations, type Declared, declarations } from "./manifest/deployments.ts";
import { readEnvFile } from "./manifest/env-file.ts";
import { readSource } from "./manifest/source.ts";
import { applyNamespace } from "./namespace/apply.ts";
import { failureText } from "./report.ts";
import { applySchedules, sendSchedule } from "./schedule/apply.ts";
import type { Session, SessionOptions, Surroundings } from "./session.ts";
import { settle } from "./settle.ts";

type Options = SessionOptions & {
  file?: string[];
  strict?: boolean;
  envFile?: string[];
  dryRun?: true | "server" | "client";
  force?: boolean;
  wait?: boolean;
  timeout: number;
};

const USUAL_FILES = ["lamplighter.yaml", "ring.yaml"];

export function applyCommand(program: Command, around: Surroundings): void {
  serverCommand(program, "apply", "make what manifest files say be so", [
    "lamplighter apply -f app.yaml --wait",
    "lamplighter apply -f app.yaml -e prod.env --dry-run",
    "cat app.json | lamplighter apply -f -",
  ])
    .option(
      "-f, --file <file>",
      `YAML or JSON, \`-\` is standard input (repeat for several files); otherwise ${USUAL_FILES.join(" or ")}`,
      collect,
    )
    .option(
      "-e, --env-file <file>",
      `values for $NAME and \${NAME} that the environment does not have (repeat for several)`,
      collect,
    )
    .addOption(
      new Option(
        "-d, --dry-run [where]",
        "change nothing: ask the `server` what it would do, or only check here (`client`)",
      )
        .choices(["server", "client"])
        .preset("server"),
    )
    .option("--strict", "refuse fields that nobody knows, instead of leaving them out with a warning")
    .addOption(new Option("--verbose", "taken for the sake of Ring's scripts; it changes nothing").hideHelp())
    .option("--force", "replace what is there at once, without a rolling update")
    .option("--wait", "until workers run and jobs have completed, or one of them failed")
    .addOption(timeoutOption("5m"))
    .addHelpText(
      "after",
      `\n$NAME and \${NAME} in values are taken from the environment, then from env files; $$NAME is a literal $NAME.`,
    )
    .action(inSession(around, apply));
}

async function apply(session: Session, options: Options): Promise<void> {
  const declared = await read(session, options);
  const { namespaces, configs, deployments, schedules, warnings } = declared;
  for (const warning of warnings) session.terminal.err(`${session.terminal.errColor.yellow("warning:")} ${warning}\n`);
  const dryRun = options.dryRun !== undefined;
  // With several, the server is asked about all of them first: what it alone can know must not leave half of a file applied.
  if (!dryRun && deployments.length > 1) await allInOrder(deployments, (one) => send(session, one, { dryRun: true }));
  if (!dryRun) for (const one of schedules) await sendSchedule(session, one, true);
  if (options.dryRun === "client") {
    tellWellFormed(session, declared);
    return;
  }
  const count = namespaces.length + configs.length + deployments.length;
  const done: { text: string; view: DeploymentView }[] = [];
  const failures: Failure[] = [];
  /** One that fails is told, and the others still get their turn. */
  const tell = (error: unknown) => {
    if (!(error instanceof Failure) || error instanceof Interrupted || count === 1) throw error;
    session.terminal.err(failureText(error, session.terminal.errColor));
    failures.push(error);
  };
  const before: string[] = [];
  for (const one of namespaces) await applyNamespace(session, one, dryRun).then(({ text }) => before.push(text), tell);
  for (const one of configs) await applyConfig(session, one, dryRun).then(({ text }) => before.push(text), tell);
  const sent = inOrder(deployments, async (one) => ({
    one,
    ...(await send(session, one, { dryRun, force: options.force })),
  }));
  for await (const outcome of sent) {
    if (outcome.status === "rejected") {
      tell(outcome.reason);
      continue;
    }
    const { one, text, said } = outcome.value;
    done.push({ text, view: JSON.parse(text) as DeploymentView });
    if (session.format === "table") session.terminal.out(`deployment ${nameOf(one)} ${said}\n`);
  }
  const applied = failures.length === 0 ? await applySchedules(session, schedules, dryRun) : [];
  const texts = done.map((one) => one.text);
  const unsettled =
    options.wait === true && !dryRun
      ? await settle(
          session,
          done.map((one) => one.view),
          options.timeout,
          (index, text) => {
            texts[index] = text;
          },
        )
      : null;
  const bodies = [...before, ...texts, ...applied];
  session.showRaw(bodies.length === 1 ? (bodies[0] as string) : `[${bodies.join(",")}]`);
  if (unsettled !== null) throw unsettled;
  const first = failures[0];
  if (first !== undefined) throw new Failure(`${failures.length} of ${count} failed`, { exit: first.exit });
  if (dryRun && session.format === "table") session.terminal.err("Dry run: nothing was changed.\n");
}

function tellWellFormed({ terminal }: Session, { namespaces, configs, deployments }: Declarations): void {
  for (const { name } of namespaces) terminal.out(`namespace ${name} is well-formed\n`);
  for (const { body } of configs) terminal.out(`config ${body.namespace}/${body.name} is well-formed\n`);
  for (const one of deployments) terminal.out(`deployment ${nameOf(one)} is well-formed\n`);
  terminal.err("Dry run: the server was not asked, and nothing was changed.\n");
}

async function read(session: Session, options: Options) {
  const { env } = session.around;
  const fromFiles = Object.assign({}, ...(options.envFile ?? []).map(readEnvFile)) as Record<string, string>;
  const lookup = (name: string) => env[name] ?? fromFiles[name];
  const files = options.file ?? [usualFile()];
  const stdin = files.includes("-") ? await session.around.readStdin() : null;
  return declarations(
    files.map((file) => readSource(file, file === "-" ? stdin : null, lookup)),
    options.strict === true,
  );
}

/** The file that is meant when none is named. */
function usualFile(): string {
  const found = USUAL_FILES.find((file) => existsSync(file));
  if (found === undefined)
    throw new Failure(`no file was named with -f, and there is no ${USUAL_FILES.join(" or ")} here`);
  return found;
}

const nameOf = ({ manifest }: Declared): string => `${manifest.namespace}/${manifest.name}`;

async function send(
  session: Session,
  declared: Declared,
  { dryRun, force }: { dryRun: boolean; force?: boolean | undefined },
): Promise<{ text: string; said: string }> {
  try {
    const { text, headers } = await session.api.post("/deployments", {
      query: { dry_run: dryRun || undefined, force: force || undefined },
      body: declared.body,
      ...(dryRun ? {} : { idempotencyKey: randomUUID() }),
    });
    if (dryRun) return { text, said: rehearsed(JSON.parse(text) as Rehearsal) };
    return { text, said: done(headers.get("lamplighter-action"), JSON.parse(text) as DeploymentView) };
  } catch (error) {
    if (error instanceof Refused && error.problem.violations.length > 0) {
      throw new Failure(`cannot apply deployment '${nameOf(declared)}': ${error.message}`, {
        exit: error.exit,
        details: error.problem.violations.map(declared.tell),
        hint: error.hint,
      });
    }
    throw error instanceof Failure && !(error instanceof Interrupted)
      ? error.during(`cannot apply deployment '${nameOf(declared)}'`)
      : error;
  }
}

function done(action: string | null, { id, replaces }: DeploymentView): string {
  switch (action) {
    case "unchanged":
      return `unchanged (${id})`;
    case "amend":
      return `changed in place (${id})`;
    case "roll":
      return `is being updated (${id} takes over from ${replaces})`;
    case "replace":
      return `updated (${id}, replaces ${replaces} at once)`;
    default:
      return `created (${id})`;
  }
}
