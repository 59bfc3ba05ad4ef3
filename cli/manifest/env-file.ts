import { readFileSync } from "node:fs";
import { Failure } from "../failure.ts";

/** A file of `KEY=VALUE` lines. Comments, blank lines, `export ` and quotes around a value are understood. */
export function readEnvFile(path: string): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Failure(`cannot read the env file ${path}: ${(error as NodeJS.ErrnoException).code ?? "unreadable"}`, {
      cause: error,
    });
  }
  return parseEnv(text, path);
}

export function parseEnv(text: string, path: string): Record<string, string> {
  const values: Record<string, string> = {};
  const bad: string[] = [];
  text.split(/\r?\n/).forEach((line, index) => {
    if (/^\s*(#|$)/.test(line)) return;
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line);
    // The line itself may hold a secret: it is named by its number only.
    if (match === null) bad.push(`${path}:${index + 1}: expected NAME=VALUE`);
    else values[match[1] as string] = unquote(match[2] as string);
  });
  if (bad.length > 0) throw new Failure(`the env file ${path} is not valid`, { details: bad });
  return values;
}

function unquote(text: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$/.exec(text) ?? /^'([^']*)'\s*(?:#.*)?$/.exec(text);
  if (quoted === null) return text.replace(/\s+#.*$/, "");
  const inner = quoted[1] as string;
  if (!text.startsWith('"')) return inner;
  return inner.replaceAll(/\\(.)/g, (_whole, char: string) => (char === "n" ? "\n" : char === "t" ? "\t" : char));
}
