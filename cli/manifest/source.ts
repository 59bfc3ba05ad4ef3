import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
  visit,
} from "yaml";
import { Failure } from "../failure.ts";
import { interpolate, type Lookup } from "./interpolate.ts";

export type Place = { line: number; column: number };

/** A manifest file as text with its YAML documents, which remember where in the text everything stands. JSON is read as the YAML that it is. */
export class Source {
  readonly name: string;
  readonly documents: Document.Parsed[];
  /** Where paths in it start from. */
  readonly folder: string;
  readonly #lines: LineCounter;
  readonly #lookup: Lookup;
  /** Texts as they stood there, of those that variables were put into. */
  readonly #written = new WeakMap<object, string>();

  /** Throws a Failure that lists every syntax error with its line, column and the line itself. */
  constructor(name: string, text: string, lookup: Lookup) {
    this.name = name;
    this.folder = dirname(name);
    this.#lookup = lookup;
    this.#lines = new LineCounter();
    const parsed = parseAllDocuments(text.replace(/^\uFEFF/, ""), {
      lineCounter: this.#lines,
      merge: true,
      prettyErrors: false,
    });
    this.documents = Array.isArray(parsed) ? (parsed as Document.Parsed[]) : [];
    const errors = this.documents.flatMap((document) => document.errors);
    if (errors.length > 0) {
      const lines = text.split(/\r?\n/);
      throw new Failure(`${name} is not valid YAML or JSON; nothing was applied`, {
        details: errors.slice(0, 10).map((error) => {
          const place = this.place(error.pos[0]);
          return `${this.at(place)}: ${error.message}${pointTo(lines[place.line - 1] ?? "", place.column)}`;
        }),
      });
    }
    const written = this.#written;
    for (const document of this.documents) {
      visit(document, {
        Scalar(key, node) {
          if (key === "key" || typeof node.value !== "string") return;
          written.set(node, node.value);
          node.value = interpolate(node.value, lookup);
        },
      });
    }
  }

  /** A scalar's value before variables were put in. */
  written = (scalar: { value: unknown }): unknown => this.#written.get(scalar) ?? scalar.value;

  /** Any text with the variables put in. */
  filled = (text: string): string => interpolate(text, this.#lookup);

  place(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line, column: col };
  }

  at({ line, column }: Place): string {
    return `${this.name}:${line}:${column}`;
  }

  /** Where in the text a path such as `ports[0].published` below `from` stands; the nearest thing around it when it is not there. */
  locate(document: Document, from: Node | null, path: string, part: "key" | "value" = "value"): Place {
    return this.place(offsetOf(document, from, path, part));
  }
}

export function readSource(file: string, stdin: string | null, lookup: Lookup): Source {
  if (stdin !== null) return new Source("<stdin>", stdin, lookup);
  try {
    return new Source(file, readFileSync(file, "utf8"), lookup);
  } catch (error) {
    if (error instanceof Failure) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    throw new Failure(
      `cannot read ${file}: ${code === "ENOENT" ? "no such file" : code === "EISDIR" ? "it is a folder" : (code ?? String(error))}`,
    );
  }
}

/** The offending line with a mark below the column; long lines are cut around it. */
function pointTo(line: string, column: number): string {
  const start = Math.max(0, column - 60);
  const shown = line.slice(start, start + 100).replaceAll("\t", " ");
  return shown.trim() === "" ? "" : `\n      ${shown}\n      ${" ".repeat(column - 1 - start)}^`;
}

function offsetOf(document: Document, from: Node | null, path: string, part: "key" | "value"): number {
  let node = resolved(document, from);
  let offset = start(node) ?? start(document.contents) ?? 0;
  let rest = path;
  while (rest !== "") {
    const next = isMap(node) ? intoMap(node.items, rest) : isSeq(node) ? intoSeq(node.items, rest) : undefined;
    if (next === undefined) return offset;
    rest = next.rest;
    const value = isNode(next.value) ? next.value : null;
    const wanted = (rest === "" && part === "key") || value === null || isEmpty(value) ? next.key : value;
    offset = start(wanted) ?? start(next.key) ?? offset;
    node = resolved(document, value);
  }
  return offset;
}

type Step = { key: unknown; value: unknown; rest: string };

/** Keys may hold dots and brackets themselves, so the longest key that the path begins with is the one that is meant. */
function intoMap(items: readonly Pair[], path: string): Step | undefined {
  const text = (pair: Pair) => String(isScalar(pair.key) ? pair.key.value : pair.key);
  const fits = items.filter(
    (pair) => path === text(pair) || path.startsWith(`${text(pair)}.`) || path.startsWith(`${text(pair)}[`),
  );
  const pair = fits.sort((a, b) => text(b).length - text(a).length)[0];
  return pair && { key: pair.key, value: pair.value, rest: path.slice(text(pair).length).replace(/^\./, "") };
}

function intoSeq(items: readonly unknown[], path: string): Step | undefined {
  const match = /^\[(\d+)\]\.?/.exec(path);
  const item = match === null ? undefined : items[Number(match[1])];
  return match === null || item === undefined
    ? undefined
    : { key: item, value: item, rest: path.slice(match[0].length) };
}

const start = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined);
const isEmpty = (node: Node): boolean => isScalar(node) && node.value === null && node.source === "";

function resolved(document: Document, node: Node | null): Node | null {
  return isAlias(node) ? (node.resolve(document) ?? null) : node;
}
