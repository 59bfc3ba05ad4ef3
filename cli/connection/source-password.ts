import type { Command } from "commander";
import { Failure } from "../failure.ts";
import type { Session } from "../session.ts";

export type PasswordOptions = { password?: string; passwordEnv?: string; passwordStdin?: boolean };

/** The flags that say where a source's password comes from. */
export const passwordOptions = (command: Command): Command =>
  command
    .option("-p, --password <password>", "the password itself, which others may see in the list of processes")
    .option("--password-env <name>", "the value of a variable of the environment")
    .option("--password-stdin", "what comes on standard input, without the line break at its end");

/** The password that was given; null when none was. */
export async function givenPassword(
  { password, passwordEnv, passwordStdin }: PasswordOptions,
  { around }: Session,
): Promise<string | null> {
  const given = [password, passwordEnv, passwordStdin].filter((one) => one !== undefined).length;
  if (given > 1)
    throw new Failure("the password is given twice", {
      hint: "Give one of --password, --password-env, --password-stdin.",
    });
  if (passwordStdin) return (await around.readStdin()).replace(/\r?\n$/, "");
  if (passwordEnv === undefined) return password ?? null;
  const value = around.env[passwordEnv];
  if (value === undefined) throw new Failure(`the environment has no ${passwordEnv}`);
  return value;
}
