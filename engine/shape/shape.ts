import type { ColumnType, SourceKind } from "../../contract/source-schema.ts";

/**
 * What an engine is compiled from: the source's schema after `reflexdb.yaml`. Tables are in the order of their source names, columns in that of
 * their table, so that the same input gives the same engine.
 */
export type Shape = {
  source: SourceKind;
  schema: string;
  tables: ShapeTable[];
  /** Every table that the source had then, kept or not, with the names of its columns: what is new is told by them. */
  known: { table: string; columns: string[] }[];
  sync: { interval: number | null; reconnect: "full" | "resume"; safetyNet: number | null };
};

export type ShapeTable = {
  /** How queries call it. */
  name: string;
  source: string;
  columns: ShapeColumn[];
  /** Places in `columns`; empty: no primary key. */
  key: number[];
  relations: Relation[];
  /** Places in `columns`, each list in order; the primary key is not among them. */
  indexes: number[][];
  /** A row that does not meet this is not kept. In the language of filters, over source names. */
  where: string | null;
  wholeTable: string | null;
  /** Tables whose rows change with deleted or renumbered rows of this one, without the log saying so. */
  cascadesTo: number[];
};

export type ShapeColumn = {
  /** How queries call it; null: needed here, but not to be seen. */
  name: string | null;
  source: string;
  declared: string;
  type: ColumnType;
  nullable: boolean;
  note: string | null;
};

export type Relation = {
  name: string;
  /** `one`: this table has the foreign key. `many`: the other has. */
  kind: "one" | "many";
  /** Place in `tables`. */
  table: number;
  /** Places of columns here and there, in pairs. */
  columns: number[];
  references: number[];
};

export const tableAt = (shape: Shape, place: number): ShapeTable => {
  const table = shape.tables[place];
  if (table === undefined) throw new Error(`there is no table ${place}`);
  return table;
};

export const columnAt = (table: ShapeTable, place: number): ShapeColumn => {
  const column = table.columns[place];
  if (column === undefined) throw new Error(`table ${table.name} has no column ${place}`);
  return column;
};
