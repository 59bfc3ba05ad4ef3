import type pg from "pg";
import { SourceFailure } from "../failure.ts";
import { identifier } from "./load.ts";

/** What an engine reads changes of. */
export type Wanted = { schema: string; tables: readonly string[] };

/** What this user could do about a publication, by the catalog: nothing is changed. */
type Rights = { database: string; user: string; mayCreate: boolean; others: string[] };

/** A longer statement is none that anybody would copy. */
const LONGEST = 3000;

/**
 * A publication that has all the tables as they are, whoever made it; null: there is none. One that leaves out kinds of changes, rows or
 * columns, or says of a partition what is its table's, would be followed with gaps.
 */
export async function completePublication(client: pg.Client, { schema, tables }: Wanted): Promise<string | null> {
  const { rows } = await client.query(
    `SELECT p.pubname AS name FROM pg_publication p
     WHERE p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot
       AND NOT EXISTS (SELECT 1 FROM pg_publication_rel r WHERE r.prpubid = p.oid
         AND (to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL))
       AND NOT EXISTS (SELECT 1 FROM unnest($2::text[]) wanted WHERE NOT EXISTS (
         SELECT 1 FROM pg_publication_tables t WHERE t.pubname = p.pubname AND t.schemaname = $1 AND t.tablename = wanted))
     ORDER BY p.pubname LIMIT 1`,
    [schema, tables],
  );
  return rows[0]?.name ?? null;
}

/** Why no publication would have these tables, with the statement that makes one; null: there is one, or the user may make it. */
export async function publicationObstacle(client: pg.Client, wanted: Wanted): Promise<SourceFailure | null> {
  if (wanted.tables.length === 0 || (await completePublication(client, wanted)) !== null) return null;
  const rights = await rightsOf(client, wanted);
  if (rights.others.length > 0) {
    const statement = creation(await freeName(client, wanted.schema), wanted);
    const why = `${rights.user} may not publish ${some(rights.others)}, which others own, and no publication has all tables`;
    return new SourceFailure("publication_missing", statement.length > LONGEST ? why : `${why}: ${statement}`);
  }
  if (rights.mayCreate) return null;
  const grant = `GRANT CREATE ON DATABASE ${identifier(rights.database)} TO ${identifier(rights.user)}`;
  return new SourceFailure("publication_missing", `${rights.user} may not make publications: ${grant}`);
}

async function rightsOf(client: pg.Client, { schema, tables }: Wanted): Promise<Rights> {
  const { rows } = await client.query(
    `SELECT current_database() AS database, current_user AS "user", has_database_privilege(current_database(), 'CREATE') AS "mayCreate",
       ARRAY(SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = ANY($2) AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1) AS others`,
    [schema, tables],
  );
  return rows[0] as Rights;
}

/** Called after the schema, so that the administrator of several can make one of each. */
async function freeName(client: pg.Client, schema: string): Promise<string> {
  const { rows } = await client.query("SELECT pubname FROM pg_publication");
  const taken = new Set(rows.map(({ pubname }) => pubname));
  const name = `lamplighter_${schema.toLowerCase().replace(/[^a-z0-9_]/g, "_")}`.slice(0, 58);
  for (let i = 1; ; i++) if (!taken.has(i === 1 ? name : `${name}_${i}`)) return i === 1 ? name : `${name}_${i}`;
}

/** Makes the instance's own publication what it has to be, where the user may; answers why not. */
export async function makePublication(client: pg.Client, name: string, wanted: Wanted): Promise<SourceFailure | null> {
  const published = await client.query(
    "SELECT tablename FROM pg_publication_tables WHERE pubname = $1 AND schemaname = $2",
    [name, wanted.schema],
  );
  const missing = wanted.tables.filter((table) => !published.rows.some((row) => row.tablename === table));
  const known = (await client.query("SELECT 1 FROM pg_publication WHERE pubname = $1", [name])).rows.length > 0;
  if (known && missing.length === 0) return null;
  const lacking = { ...wanted, tables: missing };
  const statement = known
    ? `ALTER PUBLICATION ${identifier(name)} ADD TABLE ${list(lacking)}`
    : creation(name, lacking);
  try {
    await client.query(statement);
    return null;
  } catch (error) {
    const obstacle = await publicationObstacle(client, wanted).catch(() => null);
    return obstacle ?? new SourceFailure("publication_missing", statement, error);
  }
}

function creation(name: string, wanted: Wanted): string {
  const tables = wanted.tables.length === 0 ? "" : ` FOR TABLE ${list(wanted)}`;
  return `CREATE PUBLICATION ${identifier(name)}${tables} WITH (publish_via_partition_root = true)`;
}

const list = ({ schema, tables }: Wanted): string =>
  tables.map((table) => `${identifier(schema)}.${identifier(table)}`).join(", ");

const some = (tables: readonly string[]): string =>
  tables.length <= 5 ? tables.join(", ") : `${tables.slice(0, 5).join(", ")} and ${tables.length - 5} more`;
