import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

/** Asks on the terminal. What is hidden is typed into nothing. */
export async function prompt(question: string, hidden: boolean): Promise<string> {
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: hidden ? silent : process.stderr, terminal: true });
  // The terminal is in raw mode while somebody types: Ctrl-C is a key, and becomes the signal that it usually is.
  lines.once("SIGINT", () => process.kill(process.pid, "SIGINT"));
  try {
    return await lines.question("");
  } finally {
    lines.close();
    if (hidden) process.stderr.write("\n");
  }
}
