import { stringify } from "yaml";
import { Failure } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

export const FORMATS = ["table", "json", "yaml"] as const;
export type Format = (typeof FORMATS)[number];

export function formatOf(text: string): Format {
  const format = FORMATS.find((one) => one === text);
  if (format === undefined) throw new Failure(`unknown output '${text}': expected ${FORMATS.join(", ")}`);
  return format;
}

/** Shows an answer of the server: `json` is its body as it came, `table` is made for a person by `render`. */
export function show(terminal: Terminal, format: Format, body: string, render: (value: never) => string): void {
  if (format === "json") terminal.out(body.endsWith("\n") ? body : `${body}\n`);
  else if (format === "yaml") terminal.out(yaml(JSON.parse(body)));
  else terminal.out(render(JSON.parse(body) as never));
}

export const yaml = (value: unknown): string => stringify(value, { lineWidth: 0 });

/** The pages of a list as the one array they are parts of, each row as the server wrote it. */
export function joinPages(pages: readonly string[]): string {
  if (pages.length === 1) return pages[0] as string;
  const rows = pages.map((page) => page.trim().replace(/^\[/, "").replace(/\]$/, "").trim());
  return `[${rows.filter((row) => row !== "").join(",")}]`;
}
