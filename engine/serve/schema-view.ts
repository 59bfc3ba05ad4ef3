import { type Shape, tableAt } from "../shape/shape.ts";

/** What queries can name, for `GET /schema`. */
export function schemaView(shape: Shape, permits: (table: string) => boolean): unknown {
  return {
    source: shape.source,
    schema: shape.schema,
    tables: shape.tables
      .filter(({ name }) => permits(name))
      .map((table) => ({
        name: table.name,
        key: table.key.map((place) => table.columns[place]?.name),
        fields: table.columns
          .filter(({ name }) => name !== null)
          .map(({ name, type, nullable, note }) => ({
            name,
            type: type.kind,
            nullable,
            ...(note === null ? {} : { note }),
          })),
        relations: table.relations
          .map(({ name, kind, table: place }) => ({ name, kind, table: tableAt(shape, place).name }))
          .filter(({ table: target }) => permits(target)),
      })),
  };
}
