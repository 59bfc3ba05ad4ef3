import type { At } from "./problem.ts";

/** A query as it was written; names are not looked up yet. */
export type Query = { batch: boolean; selections: Selection[] };

export type Name = { text: string; at: At };

export type Selection = { name: Name; alias: Name | null; args: Arguments; items: Item[]; at: At };

export type Item =
  | { kind: "all"; at: At }
  /** `...`: all fields, and one level of relations. */
  | { kind: "related"; at: At }
  | { kind: "field"; name: Name; alias: Name | null }
  | ({ kind: "nested" } & Selection);

export type Arguments = {
  where: Expression | null;
  order: { path: Name[]; descending: boolean }[];
  limit: Literal | null;
  offset: Literal | null;
  after: Literal | null;
};

/** `place`: in the list of the query's literals. Two queries that differ in literals only share their plan. */
export type Literal = LiteralValue & { place: number };
export type LiteralValue = { kind: "string" | "number" | "boolean"; text: string; at: At };

export type Operator = "=" | "!=" | "<" | "<=" | ">" | ">=";

export type Expression =
  | { kind: "and" | "or"; parts: Expression[]; at: At }
  | { kind: "not"; part: Expression; at: At }
  | { kind: "compare"; path: Name[]; operator: Operator; value: Literal; at: At }
  // `not` is of the value, so of each row at the end of a path: NOT before the whole is of the path.
  | { kind: "in"; path: Name[]; values: Literal[]; not: boolean; at: At }
  | { kind: "between"; path: Name[]; low: Literal; high: Literal; not: boolean; at: At }
  | { kind: "like"; path: Name[]; pattern: Literal; insensitive: boolean; not: boolean; at: At }
  | { kind: "null"; path: Name[]; not: boolean; at: At }
  /** `posts(a = 1 AND b = 2)`: some row there meets all of it. */
  | { kind: "some"; path: Name[]; part: Expression; at: At };

export const NO_ARGUMENTS: Arguments = { where: null, order: [], limit: null, offset: null, after: null };
