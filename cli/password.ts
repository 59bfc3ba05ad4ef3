import { Failure } from "./failure.ts";
import type { Surroundings } from "./session.ts";

export type PasswordOptions = { password?: string; passwordStdin?: boolean };

/** The password: of the flag, of standard input, or typed. In a flag everybody on the machine can see it for a moment. */
export async function readPassword(
  { readStdin, prompt }: Surroundings,
  { password, passwordStdin }: PasswordOptions,
  question = "Password: ",
): Promise<string> {
  if (password !== undefined) return password;
  if (passwordStdin) return (await readStdin()).replace(/\r?\n$/, "");
  if (prompt === null) throw new Failure("no password: give -p, or --password-stdin");
  return prompt(question, true);
}

/** A password that is typed anew is typed twice. */
export async function readNewPassword(around: Surroundings, options: PasswordOptions): Promise<string> {
  const first = await readPassword(around, options);
  const isTyped = options.password === undefined && !options.passwordStdin;
  if (isTyped && (await readPassword(around, options, "Again: ")) !== first)
    throw new Failure("the two passwords are not the same");
  return first;
}
