import { readFileSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { addServerOptions } from "./command.ts";
import { COMMAND_GROUPS, type Define } from "./command-groups.ts";
import { completionsCommand } from "./completions.ts";
import { CONTEXT_FILE } from "./contexts.ts";
import { EXIT, ExecEnded, Failure, Interrupted } from "./failure.ts";
import { failureText } from "./report.ts";
import type { Surroundings } from "./session.ts";

/** Runs one command line. Answers the exit code; never throws for what a user can cause. */
export async function run(argv: readonly string[], around: Surroundings): Promise<number> {
  const { terminal, interrupt } = around;
  try {
    await (await program(around, argv[0])).parseAsync([...argv], { from: "user" });
    return interrupt.signal.aborted ? leave(around) : EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.other;
    if (interrupt.signal.aborted || error instanceof Interrupted) return leave(around);
    if (error instanceof ExecEnded) return error.code;
    if (error instanceof Failure) {
      terminal.err(failureText(error, terminal.errColor));
      return error.exit;
    }
    terminal.err(
      `${terminal.errColor.red("error:")} this is a fault of lamplighter itself\n${(error as Error)?.stack ?? String(error)}\n`,
    );
    return EXIT.other;
  }
}

/** After Ctrl-C 130; a service manager's SIGTERM is an order that was carried out. */
function leave({ terminal, interrupt }: Surroundings): number {
  if (!interrupt.handled)
    terminal.err(`${terminal.live === null ? "" : "\r\u001b[2K"}${`Interrupted. ${interrupt.aftermath}`.trim()}\n`);
  return interrupt.handled && interrupt.signal.reason !== "SIGINT" ? EXIT.ok : EXIT.interrupted;
}

/** @param first the first word of the command line: where it names a command, that one is all that is loaded */
export async function program(around: Surroundings, first?: string): Promise<Command> {
  const { terminal } = around;
  const root = new Command("lamplighter")
    .description("Lights compute when it is needed and puts it out when it is not.")
    .version(version())
    .exitOverride()
    .configureOutput({
      writeOut: terminal.out,
      writeErr: terminal.err,
      getOutHelpWidth: () => terminal.width ?? 100,
      getErrHelpWidth: () => terminal.live ?? 100,
      getOutHasColors: () => terminal.color.isColorSupported,
      getErrHasColors: () => terminal.errColor.isColorSupported,
    })
    .enablePositionalOptions()
    .addOption(new Option("-c, --context <name>", "the context to use, as after the command").hideHelp())
    .addOption(new Option("--config <file>", "the file of contexts ($LAMPLIGHTER_CONFIG_FILE)"))
    .hook("preAction", (root, command) => inheritOptions(root, command, around))
    .configureHelp({ styleTitle: (text) => terminal.color.bold(text), sortSubcommands: false })
    .helpCommand(false)
    .addHelpText(
      "after",
      "\nStart with:\n  lamplighter demo                    see it work, in a temporary folder\n  lamplighter up                      run a control plane and an agent here\n  lamplighter apply -f app.yaml --wait",
    );
  for (const [title, commands] of await loaded(first)) {
    if (title !== "") root.commandsGroup(title);
    for (const define of commands) define(root, around);
  }
  addServerOptions(root);
  return root;
}

/** A command line is a process of its own: what it does not name would be most of what it loads. Completions are told of all. */
async function loaded(first: string | undefined): Promise<[title: string, Define[]][]> {
  const commands = COMMAND_GROUPS.flatMap(([, group]) => Object.entries(group));
  const wanted = commands.find(([names]) => names.split(" ").includes(first ?? ""));
  if (wanted) return [["", [await wanted[1]()]]];
  const all = COMMAND_GROUPS.map(async ([title, group]): Promise<[string, Define[]]> => {
    const defined = await Promise.all(Object.values(group).map((load) => load()));
    return [title, defined];
  });
  return [...(await Promise.all(all)), ["", [completionsCommand]]];
}

/** Ring takes these before the noun. Its own flags are the command's. */
function inheritOptions(root: Command, command: Command, around: Surroundings): void {
  const { context, config } = root.opts<{ context?: string; config?: string }>();
  if (config !== undefined) around.env = { ...around.env, [CONTEXT_FILE]: config };
  if (context !== undefined && command.getOptionValue("context") === undefined)
    command.setOptionValue("context", context);
}

function version(): string {
  return (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version;
}
