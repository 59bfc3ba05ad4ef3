import { QUERY_PROBLEMS, type QueryProblemCode } from "../contract/engine-query.ts";

/** Where in a query something is: an offset into its text. */
export type At = number;

/** Why a query is not answered. `at` becomes line and column. */
export class QueryProblem extends Error {
  readonly code: QueryProblemCode;
  readonly at: At | null;
  /** Names that are near to the one that nobody knows, best first. */
  readonly nearest: readonly string[];
  readonly retryAfterSeconds: number | null;

  constructor(
    code: QueryProblemCode,
    message: string,
    more: { at?: At | null; nearest?: readonly string[]; retryAfterSeconds?: number } = {},
  ) {
    super(message);
    this.code = code;
    this.at = more.at ?? null;
    this.nearest = more.nearest ?? [];
    this.retryAfterSeconds = more.retryAfterSeconds ?? null;
  }

  get status(): number {
    return QUERY_PROBLEMS[this.code];
  }

  /** The body of the answer. @param text of the query */
  body(text: string): Record<string, unknown> {
    return {
      // What `/problems` of the control plane has on it: where that is, an engine's caller is not told.
      type: "about:blank",
      title: this.code.replaceAll("_", " "),
      status: this.status,
      code: this.code,
      detail: this.message,
      ...(this.at === null ? {} : lineAndColumn(text, this.at)),
      ...(this.nearest.length === 0 ? {} : { nearest: this.nearest }),
    };
  }
}

/** Both from 1; a column is a character, whatever its width. */
export function lineAndColumn(text: string, at: At): { line: number; column: number } {
  const before = text.slice(0, at).split(/\r\n|\r|\n/);
  return { line: before.length, column: [...(before.at(-1) ?? "")].length + 1 };
}
