import type { Session } from "../session.ts";

/** The secret that a flag gives; `-` stands for standard input, without the line break at its end. */
export async function givenSecret(flag: string | undefined, { around }: Session): Promise<string | undefined> {
  return flag === "-" ? (await around.readStdin()).replace(/\r?\n$/, "") : flag;
}
