import type { Command } from "commander";
import { fileText } from "../config/data.ts";
import { Failure } from "../failure.ts";
import type { Session } from "../session.ts";

export type ValueOptions = { value?: string; fromFile?: string; fromEnv?: string };

/** The flags that say where a secret's value comes from. */
export const valueOptions = (command: Command): Command =>
  command
    .option("-v, --value <value>", "the value itself, which others may see in the list of processes")
    .option("--from-file <path>", "the content of a file, to its last character")
    .option("--from-env <name>", "the value of a variable of the environment");

/** The value that was given; without a flag, what comes on standard input, without the line break at its end. */
export async function givenValue(options: ValueOptions, { around }: Session): Promise<string> {
  const given = [options.value, options.fromFile, options.fromEnv].filter((one) => one !== undefined).length;
  if (given > 1)
    throw new Failure("the value is given twice", { hint: "Give one of --value, --from-file, --from-env." });
  if (options.value !== undefined) return options.value;
  if (options.fromFile !== undefined) return fileText(options.fromFile);
  if (options.fromEnv !== undefined) {
    const value = around.env[options.fromEnv];
    if (value === undefined) throw new Failure(`the environment has no ${options.fromEnv}`);
    return value;
  }
  return (await around.readStdin()).replace(/\r?\n$/, "");
}
