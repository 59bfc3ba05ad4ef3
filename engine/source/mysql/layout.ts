import type { Connection, RowDataPacket } from "mysql2/promise";
import { type Shape, tableAt } from "../../shape/shape.ts";
import type { TableMap } from "./binlog-event.ts";
import { type ImageColumn, isReadable } from "./row-image.ts";

/** How a table's rows look in the log: all of its columns, in order. `data`: the name of the type. */
export type Layout = {
  columns: (ImageColumn & { data: string })[] /** Why its images cannot be read. */;
  unreadable: string | null;
};

const COLUMNS = `
SELECT TABLE_NAME t, COLUMN_NAME name, DATA_TYPE data, COLUMN_TYPE declared, CHARACTER_SET_NAME charset
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, ORDINAL_POSITION`;

/** Of the tables of a shape, by their place in it; those that the source no longer has are not there. */
export async function layoutsOf(connection: Connection, shape: Shape): Promise<Map<number, Layout>> {
  const [rows] = await connection.query<(RowDataPacket & Record<string, string | null>)[]>(COLUMNS, [shape.schema]);
  const layouts = new Map<number, Layout>();
  for (let place = 0; place < shape.tables.length; place++) {
    const table = tableAt(shape, place);
    const own = rows.filter(({ t }) => t === table.source);
    if (own.length === 0) continue;
    let unreadable: string | null = null;
    const columns = own.map(({ name, data, declared, charset }) => {
      const at = table.columns.findIndex(({ source }) => source === name);
      const type = table.columns[at]?.type ?? null;
      if (at >= 0 && !isReadable(charset ?? null))
        unreadable = `the character set ${charset} of ${name} is not read from the log`;
      if (declared?.includes("COMPRESSED")) unreadable = `${name} is compressed`;
      const padTo = data === "binary" ? Number(/\((\d+)\)/.exec(declared ?? "")?.[1] ?? 0) : 0;
      const unsigned = declared?.includes("unsigned") ?? false;
      return { place: at < 0 ? null : at, type, unsigned, charset: charset ?? null, padTo, data: data ?? "" };
    });
    layouts.set(place, { columns, unreadable });
  }
  return layouts;
}

/** Codes of the log for types of columns; a column of another code has been altered since. */
const CODES: Record<string, readonly number[]> = {
  ...{
    tinyint: [1],
    smallint: [2],
    mediumint: [9],
    int: [3],
    bigint: [8],
    year: [13],
    float: [4],
    double: [5],
    decimal: [246],
    bit: [16],
  },
  ...{
    date: [10, 14],
    datetime: [12, 18],
    timestamp: [7, 17],
    time: [11, 19],
    char: [254],
    varchar: [15, 253],
    binary: [254],
  },
  ...{ varbinary: [15, 253], enum: [254, 247], set: [254, 248], json: [245, 252] },
};

export function matches({ columns }: Layout, { types }: TableMap): boolean {
  return (
    columns.length === types.length && columns.every(({ data }, i) => CODES[data]?.includes(types[i] as number) ?? true)
  );
}
