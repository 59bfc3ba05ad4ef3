import type { Failure } from "./failure.ts";
import { type Colors, oneLine } from "./terminal.ts";

/** A failure for a person: one line, a bullet for each detail, and what they could do. */
export function failureText(failure: Failure, color: Colors): string {
  const lines = [
    `${color.red("error:")} ${oneLine(failure.message)}`,
    ...failure.details.map((detail) => `  * ${detail}`),
  ];
  if (failure.hint !== undefined) lines.push(color.dim(failure.hint));
  return `${lines.join("\n")}\n`;
}
