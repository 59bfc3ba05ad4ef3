import { isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { type ConfigProblem, ReflexConfig, ReflexTable } from "./reflexdb-config.ts";
import { nearest } from "./suggestion.ts";

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

export type ReadConfig = {
  /** What of it is as it should be: with problems, the rest is left out. Null when nothing is. */
  config: ReflexConfig | null;
  /** Places in `tables` of those that cannot be told. */
  unreadable: ReadonlySet<number>;
  problems: ConfigProblems;
};

/** The file, and what is wrong with it by itself: compared with no schema yet. */
export function readConfig(text: string): ReadConfig {
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
  const unreadable = new Set<number>();
  if (problems.all.length > 0) return { config: null, unreadable, problems };
  const value: unknown = document.toJS();
  const parsed = ReflexConfig.safeParse(value, { reportInput: true });
  if (parsed.success) return { config: parsed.data, unreadable, problems };
  for (const issue of parsed.error.issues) tell(problems, issue);
  for (const issue of parsed.error.issues) leaveOut(value, issue, unreadable);
  return { config: ReflexConfig.safeParse(value).data ?? null, unreadable, problems };
}

/** What is wrong is taken out of the file, so that the rest of it can be looked at too. */
function leaveOut(value: unknown, { path, ...issue }: z.core.$ZodIssue, unreadable: Set<number>): void {
  if (typeof value !== "object" || value === null) return;
  const root = value as Record<PropertyKey, unknown>;
  if (issue.code === "unrecognized_keys") {
    const holder = path.reduce<unknown>((of, key) => (of as Record<PropertyKey, unknown> | undefined)?.[key], root);
    for (const key of issue.keys) delete (holder as Record<string, unknown> | undefined)?.[key];
    return;
  }
  const [first, place, field] = path;
  if (first === undefined) return;
  if (first === "version") root.version = 1;
  else if (first !== "tables" || typeof place !== "number") delete root[first];
  else if (field === undefined || field === "name") {
    unreadable.add(place);
    (root.tables as unknown[])[place] = { name: " " };
  } else delete (root.tables as Record<PropertyKey, unknown>[])[place]?.[field];
  // One says nothing without the other.
  if (first === "where_columns") delete root.where;
}

function tell(problems: ConfigProblems, issue: z.core.$ZodIssue): void {
  const path = issue.path.map((part) => (typeof part === "symbol" ? String(part) : part));
  if (issue.code !== "unrecognized_keys") {
    problems.add(issue.input === undefined ? "required" : "invalid", path, expected(issue));
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

const KINDS: Record<string, string> = {
  object: "keys with values",
  array: "a list",
  string: "text",
  number: "a number",
  int: "a whole number",
  record: "keys with values",
};

function expected(issue: z.core.$ZodIssue): string {
  const name = issue.path.findLast((part) => typeof part === "string");
  const of = name === undefined ? "" : `${String(name)}: `;
  switch (issue.code) {
    case "invalid_type": {
      const wanted = KINDS[issue.expected] ?? issue.expected;
      if (issue.path.length === 0) return `expected a file with \`version: 1\`, got ${kindOf(issue.input)}`;
      return issue.input === undefined
        ? `${of}expected, and missing`
        : `${of}expected ${wanted}, got ${kindOf(issue.input)}`;
    }
    case "too_small":
      return issue.origin === "number"
        ? `${of}expected at least ${issue.minimum}, got ${String(issue.input)}`
        : `${of}expected not to be empty`;
    case "too_big":
      return `${of}expected at most ${issue.maximum}, got ${String(issue.input)}`;
    case "invalid_value":
      return `${of}expected ${issue.values.map(String).join(" or ")}${issue.input === undefined ? "" : `, got ${shown(issue.input)}`}`;
    default:
      return `${of}${issue.message}`;
  }
}

const kindOf = (value: unknown): string =>
  value === null || value === undefined
    ? "nothing"
    : Array.isArray(value)
      ? "a list"
      : typeof value === "object"
        ? "keys with values"
        : shown(value);

const shown = (value: unknown): string => (JSON.stringify(value) ?? "nothing").slice(0, 50);

/** All that is wrong with the file by itself, in its order. */
export function configProblems(text: string): ConfigProblem[] {
  return inOrder(readConfig(text).problems.all);
}

/** As they are in the file, each once. */
export function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const sorted = problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
  const same = (a: ConfigProblem | undefined, b: ConfigProblem) =>
    a?.line === b.line && a.column === b.column && a.message === b.message;
  return sorted.filter((problem, i) => !same(sorted[i - 1], problem));
}
