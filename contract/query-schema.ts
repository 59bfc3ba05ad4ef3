import { z } from "zod";
import { ColumnType } from "./source-schema.ts";

/** What the names in a query are looked up in: tables, columns and relations as a build calls them. Every engine has its own; the control plane has each build's. */

const Place = z.int().nonnegative();

export const Relation = z.object({
  name: z.string(),
  /** `one`: this table has the foreign key. `many`: the other has. */
  kind: z.enum(["one", "many"]),
  /** Place in `tables`. */
  table: Place,
  /** Places of columns here and there, in pairs. */
  columns: z.array(Place),
  references: z.array(Place),
});
export type Relation = z.infer<typeof Relation>;

export const QueryColumn = z.object({
  /** How queries call it; null: it is there, but not to be seen. */
  name: z.string().nullable(),
  type: ColumnType,
});
export type QueryColumn = z.infer<typeof QueryColumn>;

export const QueryTable = z.object({
  /** How queries call it. */
  name: z.string(),
  columns: z.array(QueryColumn),
  /** Places in `columns`; empty: no primary key. */
  key: z.array(Place),
  relations: z.array(Relation),
});
export type QueryTable = z.infer<typeof QueryTable>;

export const QuerySchema = z.object({ tables: z.array(QueryTable) });
export type QuerySchema = z.infer<typeof QuerySchema>;
