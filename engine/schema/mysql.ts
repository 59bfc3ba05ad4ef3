import type { Connection, RowDataPacket } from "mysql2/promise";
import type {
  ForeignKey,
  SourceColumn,
  SourceFinding,
  SourceSchema,
  SourceTable,
} from "../../contract/source-schema.ts";
import { quoted } from "../source/mysql/load.ts";
import { findingsOf } from "./findings.ts";
import { mysqlType } from "./mysql-type.ts";

const COLUMNS = `
SELECT c.TABLE_NAME t, c.COLUMN_NAME name, c.DATA_TYPE data, c.COLUMN_TYPE declared, c.IS_NULLABLE = 'YES' nullable, c.CHARACTER_SET_NAME charset,
  c.NUMERIC_PRECISION \`precision\`, c.NUMERIC_SCALE scale, FIND_IN_SET('select', c.PRIVILEGES) > 0 readable
FROM information_schema.COLUMNS c JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME)
WHERE c.TABLE_SCHEMA = ? AND t.TABLE_TYPE = 'BASE TABLE' ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION`;

const KEYS = `
SELECT TABLE_NAME t, CONSTRAINT_NAME name, COLUMN_NAME col, REFERENCED_TABLE_NAME target, REFERENCED_COLUMN_NAME ref, REFERENCED_TABLE_SCHEMA target_schema,
  (SELECT r.DELETE_RULE IN ('CASCADE', 'SET NULL') OR r.UPDATE_RULE IN ('CASCADE', 'SET NULL') FROM information_schema.REFERENTIAL_CONSTRAINTS r
    WHERE r.CONSTRAINT_SCHEMA = k.TABLE_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME) cascades
FROM information_schema.KEY_COLUMN_USAGE k WHERE TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME IS NOT NULL
ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION`;

const INDEXES = `
SELECT TABLE_NAME t, INDEX_NAME name, COLUMN_NAME col, SUB_PART part, INDEX_TYPE kind
FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX`;

type Row = RowDataPacket & Record<string, string | number | null>;

/** The schema of a MySQL or MariaDB server, as far as its user may see it. */
export async function mysqlSchema(connection: Connection, schema: string): Promise<SourceSchema> {
  const rows = async (sql: string): Promise<Row[]> => (await connection.query<Row[]>(sql, [schema]))[0];
  const [about] = await rows(
    "SELECT VERSION() version, (SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?) known",
  );
  const version = String(about?.version ?? "");
  const isMariaDb = version.includes("MariaDB");
  // Both spell it in upper case or not, as their version likes.
  const columns = await rows(COLUMNS);
  const keys = (await rows(KEYS)).filter(({ target_schema }) => target_schema === schema);
  const indexes = await rows(INDEXES);
  const checks = isMariaDb ? await jsonChecks(connection, schema) : new Set<string>();
  const tables = new Map<string, SourceTable>();
  const readable = new Set(columns.filter((row) => Number(row.readable) === 1).map(({ t }) => String(t)));
  for (const row of columns) {
    const name = String(row.t);
    if (!readable.has(name)) continue;
    let table = tables.get(name);
    if (table === undefined) {
      table = { name, columns: [], primaryKey: [], foreignKeys: [], indexes: [], wholeTable: null };
      tables.set(name, table);
    }
    table.columns.push(columnOf(row, checks.has(`${name}.${row.name}`)));
    // The binary form in which MySQL's log has JSON is not read here.
    if (row.data === "json" && !isMariaDb)
      table.wholeTable = `its column ${row.name} is JSON, whose changes are not read from the log`;
  }
  for (const [name, own] of grouped(indexes)) {
    const table = tables.get(name);
    if (table === undefined) continue;
    for (const [index, parts] of own) {
      const of = parts.map(({ col }) => String(col));
      if (index === "PRIMARY") table.primaryKey = of;
      else if (parts.every(({ part, kind }) => part === null && kind === "BTREE")) table.indexes.push(of);
    }
  }
  for (const [name, own] of grouped(keys))
    for (const [key, parts] of own) tables.get(name)?.foreignKeys.push(foreignKey(key, parts));
  const all = [...tables.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const table of all) if (table.primaryKey.length === 0) table.wholeTable ??= "it has no primary key";
  const findings: SourceFinding[] = [...findingsOf(all), ...(await deniedIn(connection, schema, columns, readable))];
  if (Number(about?.known) === 0)
    findings.unshift({
      severity: "error",
      code: "schema_missing",
      table: null,
      column: null,
      message: `there is no schema ${schema} that this user may see`,
    });
  return { kind: "mysql", version, name: schema, tables: all, findings };
}

/** What the user sees and may not read. */
async function deniedIn(
  connection: Connection,
  schema: string,
  columns: readonly Row[],
  readable: ReadonlySet<string>,
): Promise<SourceFinding[]> {
  const denied = columns.filter((row) => Number(row.readable) !== 1);
  if (denied.length === 0) return [];
  const [[user]] = (await connection.query<Row[]>("SELECT CURRENT_USER() name")) as [Row[], unknown];
  const [name = "", host = "%"] = String(user?.name).split("@");
  const grant = (what: string, table: string) =>
    `GRANT SELECT${what} ON ${quoted(schema)}.${quoted(table)} TO '${name}'@'${host}'`;
  const tables = [...new Set(denied.map(({ t }) => String(t)))].filter((table) => !readable.has(table));
  return [
    ...tables.map((table) => ({
      ...{ severity: "warning" as const, code: "select_denied" as const, table, column: null },
      message: `${table} is left out: its rows may not be read`,
      fix: grant("", table),
    })),
    // Where reflexdb.yaml leaves them out, nobody reads them.
    ...denied.flatMap(({ t, name: column }) =>
      readable.has(String(t))
        ? [
            {
              ...{
                severity: "warning" as const,
                code: "select_denied" as const,
                table: String(t),
                column: String(column),
              },
              message: `${t}.${column} may not be read: leave it out, or grant it`,
              fix: grant(` (${quoted(String(column))})`, String(t)),
            },
          ]
        : [],
    ),
  ];
}

function columnOf(row: Row, isJson: boolean): SourceColumn {
  const number = (value: unknown) => (value === null || value === undefined ? null : Number(value));
  const declared = String(row.declared);
  const type = mysqlType({
    ...{ data: String(row.data), declared, charset: row.charset === null ? null : String(row.charset) },
    ...{ precision: number(row.precision), scale: number(row.scale), isJson },
  });
  return { name: String(row.name), declared, type, nullable: Number(row.nullable) === 1 };
}

/** MariaDB's JSON columns: text with the check `json_valid`. */
async function jsonChecks(connection: Connection, schema: string): Promise<Set<string>> {
  const [rows] = await connection.query<Row[]>(
    "SELECT TABLE_NAME t, CHECK_CLAUSE clause FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ?",
    [schema],
  );
  const found = new Set<string>();
  for (const { t, clause } of rows) {
    const match = /^json_valid\(`(.+)`\)$/.exec(String(clause));
    if (match) found.add(`${t}.${match[1]}`);
  }
  return found;
}

function grouped(rows: readonly Row[]): Map<string, Map<string, Row[]>> {
  const tables = new Map<string, Map<string, Row[]>>();
  for (const row of rows) {
    const table = tables.get(String(row.t)) ?? new Map<string, Row[]>();
    tables.set(String(row.t), table);
    table.set(String(row.name), [...(table.get(String(row.name)) ?? []), row]);
  }
  return tables;
}

const foreignKey = (name: string, parts: readonly Row[]): ForeignKey => ({
  ...{ name, columns: parts.map(({ col }) => String(col)) },
  ...{ table: String(parts[0]?.target), references: parts.map(({ ref }) => String(ref)) },
  cascades: Number(parts[0]?.cascades) === 1,
});
