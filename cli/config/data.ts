import { readFileSync } from "node:fs";
import { basename } from "node:path";
import type { Command } from "commander";
import { collect } from "../command.ts";
import { Failure } from "../failure.ts";

export type DataOptions = { fromFile?: string[]; fromLiteral?: string[]; data?: string; labels?: string };

/** The flags that say what is in a config. */
export const dataOptions = (command: Command): Command =>
  command
    .option("--from-file <[key=]path>", "an entry with the content of a file (repeat for several)", collect)
    .option("--from-literal <key=value>", "an entry (repeat for several)", collect)
    .option("--data <text>", "all of the data as it is, instead of entries; `-` reads it from standard input")
    .option("--labels <text>", "free text about it");

/** The data as the server takes it: a JSON object of the entries, or the text that was given. */
export async function dataOf(options: DataOptions, readStdin: () => Promise<string>): Promise<string> {
  const entries: Record<string, string> = {};
  for (const [form, text] of [
    ...(options.fromFile ?? []).map((one) => ["file", one] as const),
    ...(options.fromLiteral ?? []).map((one) => ["literal", one] as const),
  ]) {
    const at = text.indexOf("=");
    if (form === "literal" && at < 1) throw new Failure(`--from-literal '${text}': expected KEY=VALUE`);
    const key = at > 0 ? text.slice(0, at) : basename(text);
    if (Object.hasOwn(entries, key)) throw new Failure(`the entry '${key}' is given twice`);
    entries[key] = form === "literal" ? text.slice(at + 1) : fileText(text.slice(at + 1));
  }
  const none = Object.keys(entries).length === 0;
  if (options.data !== undefined && !none) throw new Failure("--data is all of the data: it goes with no entries");
  if (options.data !== undefined) return options.data === "-" ? readStdin() : options.data;
  if (none)
    throw new Failure("nothing to put into the config", { hint: "Give --from-file, --from-literal or --data." });
  return JSON.stringify(entries);
}

export function fileText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Failure(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? "unreadable"}`, {
      cause: error,
    });
  }
}
