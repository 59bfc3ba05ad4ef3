import { type Command, InvalidArgumentError, Option } from "commander";
import { parseDuration } from "../contract/quantity.ts";
import { FORMATS } from "./output.ts";
import { Session, type SessionOptions, type Surroundings } from "./session.ts";

/** The commands that talk to a server. */
const serverCommands = new WeakSet<Command>();

/** A command that talks to a server: it shows examples in its help, and takes `-o` and the flags that say which server. */
export function serverCommand(
  parent: Command,
  usage: string,
  description: string,
  examples: readonly string[],
): Command {
  const command = withExamples(parent.command(usage).description(description), examples);
  serverCommands.add(command);
  return command;
}

/** Gives every server command below `command` the options that they share; after their own, so that help shows those first. */
export function addServerOptions(command: Command): void {
  for (const child of command.commands) addServerOptions(child);
  if (!serverCommands.has(command)) return;
  command
    .optionsGroup("Output and server:")
    .addOption(outputOption())
    .option(`${takesC(command) ? "" : "-c, "}--context <name>`, "the context to use (see `lamplighter context list`)")
    .option("--url <url>", "the server's URL ($LAMPLIGHTER_URL)")
    .option("--token <token>", "the token to send ($LAMPLIGHTER_TOKEN)");
}

/** `-c` is the container where there is one to choose, as with Ring. */
const takesC = (command: Command): boolean => command.options.some(({ short }) => short === "-c");

export const outputOption = (): Option =>
  new Option("-o, --output <format>", "how to print the result").choices(FORMATS).default("table");

export function withExamples(command: Command, examples: readonly string[]): Command {
  return command.addHelpText("after", `\nExamples:\n${examples.map((line) => `  ${line}`).join("\n")}`);
}

/** A group of commands on one noun. */
export const noun = (program: Command, name: string, description: string): Command =>
  program.command(name).description(description);

/** Runs `work` in a session made of the command's options. */
export function inSession<Args extends unknown[], Options extends SessionOptions>(
  around: Surroundings,
  work: (session: Session, options: Options, ...args: Args) => Promise<void>,
): (...all: unknown[]) => Promise<void> {
  return async (...all) => {
    const args = all.slice(0, -2) as Args;
    const options = all.at(-2) as Options;
    await work(new Session(around, options), options, ...args);
  };
}

/** An option that may be given several times. */
export const collect = (value: string, before: readonly string[] | false | undefined): string[] => [
  // False after the same option with `--no-`.
  ...(before || []),
  value,
];

export function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("expected a whole number above 0");
  return value;
}

export function count(text: string): number {
  return text === "0" ? 0 : positive(text);
}

/** A duration such as `30s` or `5m`, in ms. */
export const durationOption = (flags: string, description: string, normally: string): Option =>
  new Option(flags, description).argParser(duration).default(duration(normally), normally);

export const timeoutOption = (normally: string): Option =>
  durationOption("--timeout <duration>", "how long to wait at most", normally);

function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new InvalidArgumentError("expected a duration such as 30s, 5m or 1h");
  return ms;
}
