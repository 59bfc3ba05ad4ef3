import { z } from "zod";

/** What a value of a column is once it is here. Every type of every source is one of these, or has no mapping. */
export const ColumnType = z.discriminatedUnion("kind", [
  /** Fits in 32 bits with its sign. */
  z.object({ kind: z.literal("integer") }),
  /** Up to 64 bits, signed or not. Answered as a number up to 2^53, as a string beyond. */
  z.object({ kind: z.literal("bigint") }),
  z.object({ kind: z.literal("float"), single: z.boolean() }),
  /** `scale` null: any number of digits. Answered as a string. */
  z.object({ kind: z.literal("decimal"), precision: z.int().nullable(), scale: z.int().nullable() }),
  z.object({ kind: z.literal("boolean") }),
  z.object({ kind: z.literal("text") }),
  z.object({ kind: z.literal("enum"), values: z.array(z.string()) }),
  /** Several of `values`. Answered as an array. */
  z.object({ kind: z.literal("set"), values: z.array(z.string()) }),
  z.object({ kind: z.literal("json") }),
  z.object({ kind: z.literal("bytes") }),
  /** `zoned`: a moment, answered in UTC. Otherwise what a clock on the wall shows. */
  z.object({ kind: z.literal("datetime"), zoned: z.boolean() }),
  z.object({ kind: z.literal("date") }),
  z.object({ kind: z.literal("time") }),
]);
export type ColumnType = z.infer<typeof ColumnType>;
export type ColumnKind = ColumnType["kind"];

export const SourceColumn = z.object({
  name: z.string(),
  /** As the source prints it: `int(10) unsigned`, `timestamp with time zone`. */
  declared: z.string(),
  /** Null: there is no mapping, and the column is left out. */
  type: ColumnType.nullable(),
  nullable: z.boolean(),
});
export type SourceColumn = z.infer<typeof SourceColumn>;

export const ForeignKey = z.object({
  name: z.string(),
  columns: z.array(z.string()).min(1),
  table: z.string(),
  references: z.array(z.string()).min(1),
  /** Deleting or renumbering there changes rows here, and the log does not say which. */
  cascades: z.boolean(),
});
export type ForeignKey = z.infer<typeof ForeignKey>;

export const SourceTable = z.object({
  name: z.string(),
  columns: z.array(SourceColumn),
  primaryKey: z.array(z.string()),
  foreignKeys: z.array(ForeignKey),
  /** What the source has an index on, the primary key left out. */
  indexes: z.array(z.array(z.string())),
  /** Why changes of rows cannot be applied one by one, so that the whole table is read again; null when they can. */
  wholeTable: z.string().nullable(),
});
export type SourceTable = z.infer<typeof SourceTable>;

/** Something to know before a build. Only an `error` stops it. */
export const SourceFinding = z.object({
  severity: z.enum(["error", "warning", "info"]),
  code: z.enum([
    "unsupported_type",
    "no_primary_key",
    "whole_table_reload",
    "relation_left_out",
    "relation_renamed",
    "name_changed",
    "select_denied",
    "schema_missing",
    "schema_denied",
    "no_tables",
    "log_unlimited",
  ]),
  table: z.string().nullable(),
  column: z.string().nullable(),
  message: z.string(),
  /** The statement that mends it. */
  fix: z.string().optional(),
});
export type SourceFinding = z.infer<typeof SourceFinding>;

export const SourceKind = z.enum(["mysql", "postgres"]);
export type SourceKind = z.infer<typeof SourceKind>;

export const SourceSchema = z.object({
  kind: SourceKind,
  /** Of the server: `10.11.19-MariaDB`, `15.18`. */
  version: z.string(),
  name: z.string(),
  tables: z.array(SourceTable),
  findings: z.array(SourceFinding),
});
export type SourceSchema = z.infer<typeof SourceSchema>;
