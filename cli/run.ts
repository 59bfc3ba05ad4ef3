import { readFileSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { agentCommand } from "./agent.ts";
import { applyCommand } from "./apply.ts";
import { auditCommand } from "./audit.ts";
import { addServerOptions } from "./command.ts";
import { completionsCommand } from "./completions.ts";
import { configCommands } from "./config/commands.ts";
import { connectionCommands } from "./connection/commands.ts";
import { contextCommands } from "./context/commands.ts";
import { CONTEXT_FILE } from "./contexts.ts";
import { databaseCommands } from "./database/commands.ts";
import { demoCommand } from "./demo/command.ts";
import { deploymentCommands } from "./deployment/commands.ts";
import { ExecEnded } from "./deployment/exec.ts";
import { explainCommand } from "./deployment/explain.ts";
import { diffCommand } from "./diff.ts";
import { doctorCommand } from "./doctor.ts";
import { EXIT, Failure, Interrupted } from "./failure.ts";
import { gatewayCommand } from "./gateway.ts";
import { hookCommands } from "./hook/commands.ts";
import { hostCommands } from "./host/commands.ts";
import { instanceCommands } from "./instance/commands.ts";
import { keeperCommand } from "./keeper.ts";
import { loginCommand, logoutCommand } from "./login.ts";
import { namespaceCommands } from "./namespace/commands.ts";
import { nodeCommands } from "./node/commands.ts";
import { failureText } from "./report.ts";
import { scheduleCommands } from "./schedule/commands.ts";
import { secretCommands } from "./secret/commands.ts";
import type { Surroundings } from "./session.ts";
import { tokenCommands } from "./token/commands.ts";
import { upCommand } from "./up/command.ts";
import { userCommands } from "./user/commands.ts";
import { volumeCommands } from "./volume/commands.ts";
import { webhookCommands } from "./webhook/commands.ts";

/** Runs one command line. Answers the exit code; never throws for what a user can cause. */
export async function run(argv: readonly string[], around: Surroundings): Promise<number> {
  const { terminal, interrupt } = around;
  try {
    await program(around).parseAsync([...argv], { from: "user" });
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

export function program(around: Surroundings): Command {
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
  root.commandsGroup("Run:");
  upCommand(root, around);
  demoCommand(root, around);
  agentCommand(root, around);
  keeperCommand(root, around);
  gatewayCommand(root, around);
  root.commandsGroup("Deploy:");
  applyCommand(root, around);
  diffCommand(root, around);
  deploymentCommands(root, around);
  explainCommand(root, around);
  scheduleCommands(root, around);
  databaseCommands(root, around);
  connectionCommands(root, around);
  instanceCommands(root, around);
  configCommands(root, around);
  secretCommands(root, around);
  volumeCommands(root, around);
  namespaceCommands(root, around);
  hookCommands(root, around);
  root.commandsGroup("Steer:");
  hostCommands(root, around);
  nodeCommands(root, around);
  loginCommand(root, around);
  logoutCommand(root, around);
  userCommands(root, around);
  tokenCommands(root, around);
  webhookCommands(root, around);
  auditCommand(root, around);
  contextCommands(root, around);
  doctorCommand(root, around);
  completionsCommand(root, around);
  addServerOptions(root);
  return root;
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
