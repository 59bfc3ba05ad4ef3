import { isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { type ConfigProblem, ReflexConfig, ReflexTable } from "../../contract/reflexdb-config.ts";
import { nearest } from "../../contract/suggestion.ts";

export type Path = readonly (string | number)[];

/** What is wrong with the file, each with its place in it. */
export class ConfigProblems {
  readonly all: ConfigProblem[] = [];
  readonly #at: (path: Path, key: boolean) => { line: number; col: number };

  constructor(at: (path: Path, key: boolean) => { line: number; col: number }) {
    this.#at = at;
  }

  /** @param onKey what is wrong is the key itself, not its value */
  add(code: string, path: Path, message: string, more: { near?: readonly string[]; onKey?: boolean } = {}): void {
    const { line, col } = this.#at(path, more.onKey ?? false);
    const shown = path
      .map((part, i) => (typeof part === "number" ? `[${part}]` : i === 0 ? part : `.${part}`))
      .join("");
    this.all.push({ code, message, path: shown, line, column: col, nearest: [...(more.near ?? [])] });
  }
}

/** The file, and what is wrong with it by itself: compared with no schema yet. Null when it cannot be read as what it should be. */
export function readConfig(text: string): { config: ReflexConfig | null; problems: ConfigProblems } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const place = (offset: number | undefined) => {
    const { line, col } = lines.linePos(offset ?? 0);
    return { line: Math.max(1, line), col: Math.max(1, col) };
  };
  const problems = new ConfigProblems((path, onKey) => {
    // What is not there is told where it should be.
    for (let length = path.length; length > 0; length--) {
      const parent = document.getIn(path.slice(0, length - 1), true) ?? document.contents;
      const last = path[length - 1];
      if (isMap(parent)) {
        const pair = parent.items.find(({ key }) => isScalar(key) && key.value === last);
        const node = (onKey && length === path.length) || !isNode(pair?.value) ? pair?.key : pair.value;
        if (isNode(node)) return place(node.range?.[0]);
      }
      const node = document.getIn(path.slice(0, length), true);
      if (isNode(node)) return place(node.range?.[0]);
    }
    return place(document.contents?.range?.[0]);
  });
  for (const error of document.errors) {
    const { line, col } = error.linePos?.[0] ?? { line: 1, col: 1 };
    const [message = ""] = error.message.split("\n");
    problems.all.push({
      ...{ code: "yaml", message: message.replace(/ at line \d+, column \d+:?$/, ""), path: "" },
      line,
      column: col,
      nearest: [],
    });
  }
  if (problems.all.length > 0) return { config: null, problems };
  const parsed = ReflexConfig.safeParse(document.toJS(), { reportInput: true });
  if (parsed.success) return { config: parsed.data, problems };
  for (const issue of parsed.error.issues) tell(problems, issue);
  return { config: null, problems };
}

function tell(problems: ConfigProblems, issue: z.core.$ZodIssue): void {
  const path = issue.path.map((part) => (typeof part === "symbol" ? String(part) : part));
  if (issue.code !== "unrecognized_keys") {
    problems.add(issue.input === undefined ? "required" : "invalid", path, issue.message);
    return;
  }
  const known =
    path[0] === "tables" && path.length === 2
      ? Object.keys(ReflexTable.shape)
      : path.length === 0
        ? Object.keys(ReflexConfig.shape)
        : [];
  for (const key of issue.keys)
    problems.add("unknown_key", [...path, key], `there is no key '${key}' here`, {
      near: nearest(key, known),
      onKey: true,
    });
}
