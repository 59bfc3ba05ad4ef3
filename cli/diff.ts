import type { Command } from "commander";
import type { ManifestChange } from "../contract/rollout.ts";
import { collect, inSession, serverCommand } from "./command.ts";
import { applyConfig } from "./config/apply.ts";
import { Failure } from "./failure.ts";
import { allInOrder } from "./in-order.ts";
import { declarations } from "./manifest/deployments.ts";
import { readEnvFile } from "./manifest/env-file.ts";
import { readSource } from "./manifest/source.ts";
import { applyNamespace } from "./namespace/apply.ts";
import type { Session, SessionOptions, Surroundings } from "./session.ts";
import type { Colors } from "./terminal.ts";

type Options = SessionOptions & { file: string[]; envFile?: string[]; exitCode?: boolean };
/** The part of a dry run's answer that is shown. */
export type Rehearsal = { action: string; why?: string; changes: ManifestChange[]; renewed: string[] };

export function diffCommand(program: Command, around: Surroundings): void {
  serverCommand(program, "diff", "show what applying manifest files would change", [
    "lamplighter diff -f app.yaml",
    "lamplighter diff -f app.yaml --exit-code",
  ])
    .requiredOption("-f, --file <file>", "YAML or JSON, `-` is standard input (repeat for several files)", collect)
    .option("-e, --env-file <file>", "values for $NAME in the files (repeat for several)", collect)
    .option("--exit-code", "exit with 1 when something would change")
    .action(inSession(around, diff));
}

async function diff(session: Session, options: Options): Promise<void> {
  const { env } = session.around;
  const fromFiles = Object.assign({}, ...(options.envFile ?? []).map(readEnvFile)) as Record<string, string>;
  const lookup = (name: string) => env[name] ?? fromFiles[name];
  const stdin = options.file.includes("-") ? await session.around.readStdin() : null;
  const { namespaces, configs, deployments } = declarations(
    options.file.map((file) => readSource(file, file === "-" ? stdin : null, lookup)),
  );
  const answers: string[] = [];
  let changed = 0;
  const rehearsals = [
    ...namespaces.map((one) => () => applyNamespace(session, one, true)),
    ...configs.map((one) => () => applyConfig(session, one, true)),
  ];
  for (const rehearse of rehearsals) {
    const rehearsal = await rehearse();
    answers.push(rehearsal.text);
    if (rehearsal.changed) changed++;
  }
  const asked = await allInOrder(deployments, async ({ body, manifest }) => {
    const query = { dry_run: true };
    return { manifest, text: (await session.api.post("/deployments", { query, body, idempotencyKey: null })).text };
  });
  for (const { manifest, text } of asked) {
    const rehearsal = JSON.parse(text) as Rehearsal;
    answers.push(text);
    if (rehearsal.action !== "unchanged") changed++;
    if (session.format === "table")
      session.terminal.out(describe(`${manifest.namespace}/${manifest.name}`, rehearsal, session.terminal.color));
  }
  session.showRaw(answers.length === 1 ? (answers[0] as string) : `[${answers.join(",")}]`);
  if (options.exitCode === true && changed > 0) throw new Failure(`${changed} would change`, { exit: 1 });
}

const HOW: Record<string, string> = {
  create: "would be created",
  unchanged: "would stay as it is",
  amend: "would be changed in place",
  roll: "would be replaced step by step",
  replace: "would be replaced at once",
};

/** `would be replaced at once (…)`: what a dry run says of one deployment. */
export const rehearsed = ({ action, why }: Rehearsal): string =>
  `${HOW[action] ?? action}${why === undefined ? "" : ` (${why})`}`;

function describe(name: string, rehearsal: Rehearsal, color: Colors): string {
  const lines = rehearsal.changes.flatMap(({ path, from, to }) => [
    ...(from === null ? [] : [color.red(`  - ${path}: ${JSON.stringify(from)}`)]),
    ...(to === null ? [] : [color.green(`  + ${path}: ${JSON.stringify(to)}`)]),
  ]);
  lines.push(...rehearsal.renewed.map((what) => color.yellow(`  ~ ${what} has changed`)));
  return `deployment ${name} ${rehearsed(rehearsal)}\n${lines.map((line) => `${line}\n`).join("")}`;
}
