import { Failure } from "./failure.ts";
import { failureText } from "./report.ts";
import type { Terminal } from "./terminal.ts";

/** Does something to each of several things; one that fails is told and the others still get their turn. Fails as the first failure did. */
export async function each(
  terminal: Terminal,
  names: readonly string[],
  work: (name: string) => Promise<void>,
): Promise<void> {
  const failures: Failure[] = [];
  for (const name of names) {
    try {
      await work(name);
    } catch (error) {
      if (!(error instanceof Failure) || names.length === 1) throw error;
      terminal.err(failureText(error, terminal.errColor));
      failures.push(error);
    }
  }
  const first = failures[0];
  if (first !== undefined) throw new Failure(`${failures.length} of ${names.length} failed`, { exit: first.exit });
}
