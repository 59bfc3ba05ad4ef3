import type { Colors } from "./terminal.ts";

export type Field = readonly [title: string, value: string | readonly string[]];

/** Titles and values, one below the other; empty values are left out, a list takes one line an entry. */
export function sheet(color: Colors, width: number | null, fields: readonly Field[]): string {
  const shown = fields.map(([title, value]) => [title, typeof value === "string" ? [value] : value] as const);
  const filled = shown.filter(([, lines]) => lines.some((line) => line !== ""));
  const indent = Math.max(...filled.map(([title]) => title.length)) + 2;
  return filled
    .flatMap(([title, lines]) =>
      lines
        .flatMap((line) => wrap(line, width === null ? null : width - indent))
        .map((line, index) => `${index === 0 ? color.dim(title.padEnd(indent)) : " ".repeat(indent)}${line}`.trimEnd()),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** Breaks at spaces. Painted text is left whole: its length is not what is seen. */
function wrap(text: string, width: number | null): string[] {
  if (width === null || width < 20 || text.length <= width || text.includes("\u001b")) return [text];
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
