import type { Operator } from "./syntax.ts";

/** A query whose names have been looked up: numbers of tables and columns instead. Values are places in the list of parameters. */
export type Plan = {
  lists: RootList[];
  batch: boolean /** Relations that are gone through in filters. */;
  hops: number;
};

export type RootList = { name: string; list: List };

/** Rows of one table: of the root, or of a relation of the row above. */
export type List = {
  table: number;
  via: Hop | null;
  where: Check | null;
  /** Empty: by primary key. */
  order: { column: number; descending: boolean }[];
  limit: number | null;
  offset: number | null;
  after: number | null;
  fields: Field[];
};

/** One step from a row to those that a relation leads to. */
export type Hop = {
  kind: "one" | "many";
  from: number;
  table: number;
  columns: number[];
  references: number[];
  name: string;
};

export type Field = { name: string } & ({ kind: "column"; column: number } | { kind: "list"; list: List });

export type Check =
  | { kind: "and" | "or"; parts: Check[] }
  | { kind: "not"; part: Check }
  | { kind: "compare"; column: number; operator: Operator; value: number }
  | { kind: "in"; column: number; values: number }
  | { kind: "like"; column: number; pattern: number }
  | { kind: "null"; column: number }
  /** Some row there meets `part`; null: there is one. */
  | { kind: "some"; hop: Hop; part: Check | null };

export const every = (...parts: (Check | null)[]): Check | null => {
  const present = parts.filter((each) => each !== null);
  return present.length < 2 ? (present[0] ?? null) : { kind: "and", parts: present };
};
