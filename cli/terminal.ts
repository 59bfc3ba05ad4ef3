import { stripVTControlCharacters } from "node:util";
import picocolors from "picocolors";

export type Colors = ReturnType<typeof picocolors.createColors>;

/** Where output goes and what it can show. Results go to `out`; progress, notes and errors to `err`, so that a pipe gets results only. */
export type Terminal = {
  out(text: string): void;
  err(text: string): void;
  /** Columns that a table may use; null in a pipe, where nothing is cut. */
  width: number | null;
  color: Colors;
  errColor: Colors;
  /** Columns for a progress line that is rewritten in place; null when `err` is no terminal. */
  live: number | null;
};

export function processTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  const colored = (stream: NodeJS.WriteStream) => stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    get width() {
      return stdout.isTTY ? stdout.columns || 80 : null;
    },
    get live() {
      return stderr.isTTY && env.TERM !== "dumb" ? stderr.columns || 80 : null;
    },
    color: picocolors.createColors(colored(stdout)),
    errColor: picocolors.createColors(colored(stderr)),
  };
}

/** Text from elsewhere on one line, with nothing in it that could steer the terminal. */
export const oneLine = (text: string): string =>
  stripVTControlCharacters(text)
    .replaceAll(/\s+/g, " ")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
    .replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "")
    .trim();

/** At most `width` characters, the last one `…` when something was cut. */
export const clip = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
