import type { QueryColumn, QuerySchema, QueryTable } from "../../contract/query-schema.ts";
import type { SourceKind } from "../../contract/source-schema.ts";

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

export type ShapeTable = Omit<QueryTable, "columns"> & {
  source: string;
  columns: ShapeColumn[];
  /** Places in `columns`, each list in order; the primary key is not among them. */
  indexes: number[][];
  /** A row that does not meet this is not kept. In the language of filters, over source names. */
  where: string | null;
  wholeTable: string | null;
  /** Tables whose rows change with deleted or renumbered rows of this one, without the log saying so. */
  cascadesTo: number[];
};

export type ShapeColumn = QueryColumn & {
  source: string;
  declared: string;
  nullable: boolean;
  note: string | null;
};

export type { Relation } from "../../contract/query-schema.ts";

/** What names are looked up in, and nothing besides. */
export const querySchemaOf = ({ tables }: Pick<Shape, "tables">): QuerySchema => ({
  tables: tables.map(({ name, columns, key, relations }) => ({
    name,
    columns: columns.map(({ name, type }) => ({ name, type: "values" in type ? { ...type, values: [] } : type })),
    key,
    relations: relations.map(({ name, kind, table, columns, references }) => ({
      ...{ name, kind, table, columns, references },
    })),
  })),
});

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
