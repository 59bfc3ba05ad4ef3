import type pg from "pg";
import type { ForeignKey, SourceFinding, SourceSchema, SourceTable } from "../../contract/source-schema.ts";
import { identifier } from "../source/postgres/load.ts";
import { findingsOf } from "./findings.ts";
import { postgresType } from "./postgres-type.ts";

const COLUMNS = `
SELECT c.relname t, a.attname name, format_type(a.atttypid, a.atttypmod) declared, NOT a.attnotnull nullable,
  b.typname type, b.typtype typtype, CASE WHEN d.typtype = 'd' THEN d.typtypmod ELSE a.atttypmod END modifier,
  ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder) AS values,
  c.relreplident identity, c.relpersistence persistence
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type d ON d.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND has_table_privilege(c.oid, 'SELECT')
ORDER BY c.relname COLLATE "C", a.attnum`;

const DENIED = `
SELECT c.relname t FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT has_table_privilege(c.oid, 'SELECT')
ORDER BY c.relname COLLATE "C"`;

const NAMES = (list: string, of: string) =>
  `ARRAY(SELECT a.attname::text FROM unnest(${list}) WITH ORDINALITY k(n, i) JOIN pg_attribute a ON a.attrelid = ${of} AND a.attnum = k.n ORDER BY k.i)`;

const CONSTRAINTS = `
SELECT r.relname t, c.conname name, c.contype kind, f.relname target, c.condeferrable AS deferrable, ${NAMES("c.conkey", "c.conrelid")} cols, ${NAMES("c.confkey", "c.confrelid")} refs
FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace
  LEFT JOIN pg_class f ON f.oid = c.confrelid
WHERE n.nspname = $1 AND c.contype IN ('p', 'f') AND (f.oid IS NULL OR f.relnamespace = r.relnamespace)
ORDER BY r.relname COLLATE "C", c.conname COLLATE "C"`;

const INDEXES = `
SELECT r.relname t, ${NAMES("string_to_array(i.indkey::text, ' ')::int[]", "i.indrelid")} cols, i.indnkeyatts keys
FROM pg_index i JOIN pg_class r ON r.oid = i.indrelid JOIN pg_namespace n ON n.oid = r.relnamespace
  JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
WHERE n.nspname = $1 AND NOT i.indisprimary AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND m.amname = 'btree'
ORDER BY r.relname COLLATE "C", x.relname COLLATE "C"`;

/** The schema of a PostgreSQL database, as far as its user may see it. */
export async function postgresSchema(client: pg.Client, schema: string): Promise<SourceSchema> {
  const rows = async (sql: string) => (await client.query(sql, [schema])).rows;
  const [about] = await rows(
    "SELECT current_setting('server_version') AS version, current_user AS me, (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1) AS open",
  );
  const me = identifier(String(about?.me));
  const tables = new Map<string, SourceTable>();
  for (const row of await rows(COLUMNS)) {
    let table = tables.get(row.t);
    if (table === undefined) {
      table = { name: row.t, columns: [], primaryKey: [], foreignKeys: [], indexes: [], wholeTable: wholeTable(row) };
      tables.set(row.t, table);
    }
    const type = postgresType(row);
    table.columns.push({ name: row.name, declared: row.declared, type, nullable: row.nullable });
  }
  for (const row of await rows(CONSTRAINTS)) {
    const table = tables.get(row.t);
    if (table === undefined) continue;
    if (row.kind === "f") {
      const key: ForeignKey = {
        name: row.name,
        columns: row.cols,
        table: row.target,
        references: row.refs,
        cascades: false,
      };
      table.foreignKeys.push(key);
      continue;
    }
    table.primaryKey = row.cols;
    // Two rows may then have one key for a moment, and the stream shows that moment.
    if (row.deferrable) table.wholeTable ??= "its primary key is checked at the end of a transaction only";
  }
  for (const row of await rows(INDEXES)) tables.get(row.t)?.indexes.push(row.cols.slice(0, row.keys));
  const all = [...tables.values()];
  for (const table of all) if (table.primaryKey.length === 0) table.wholeTable ??= "it has no primary key";
  const findings: SourceFinding[] = findingsOf(all);
  for (const { t } of await rows(DENIED))
    findings.push({
      ...{ severity: "warning", code: "select_denied", table: t, column: null },
      message: `${t} is left out: its rows may not be read`,
      fix: `GRANT SELECT ON ${identifier(schema)}.${identifier(t)} TO ${me}`,
    });
  if (about?.open === false)
    findings.unshift({
      ...{ severity: "error", code: "schema_denied", table: null, column: null },
      message: `the schema ${schema} may not be used`,
      fix: `GRANT USAGE ON SCHEMA ${identifier(schema)} TO ${me}`,
    });
  if (about?.open == null)
    findings.unshift({
      severity: "error",
      code: "schema_missing",
      table: null,
      column: null,
      message: `there is no schema ${schema}`,
    });
  return { kind: "postgres", version: String(about?.version ?? ""), name: schema, tables: all, findings };
}

function wholeTable({ identity, persistence }: { identity: string; persistence: string }): string | null {
  if (persistence === "u") return "it is unlogged, so the log has nothing of it";
  if (identity === "n") return "its replica identity is NOTHING";
  if (identity === "i") return "its replica identity is another index than the primary key";
  return null;
}
