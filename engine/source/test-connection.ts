import type { RowDataPacket } from "mysql2/promise";
import type pg from "pg";
import type { SourceConnection } from "../../contract/engine.ts";
import type { ConnectionTest } from "../../contract/engine-build.ts";
import type { SourceFinding } from "../../contract/source-schema.ts";
import { composeShape } from "../config/compose.ts";
import { mysqlSchema } from "../schema/mysql.ts";
import { postgresSchema } from "../schema/postgres.ts";
import { connectMysql, connectPostgres } from "./connect.ts";
import { type SourceFailure, sourceFailure } from "./failure.ts";
import { obstaclesOf as mysqlObstacles } from "./mysql/mysql-source.ts";
import { obstaclesOf as postgresObstacles, publishable } from "./postgres/postgres-source.ts";
import { publicationObstacle } from "./postgres/publication.ts";

/** What a source says to whoever would build from it. Nothing there is changed. @param config says which tables that would be of */
export async function testConnection(source: SourceConnection, config: string | null = null): Promise<ConnectionTest> {
  try {
    return source.kind === "mysql" ? await testMysql(source) : await testPostgres(source, config);
  } catch (error) {
    throw sourceFailure(error, "introspection_failed");
  }
}

async function testMysql(source: SourceConnection): Promise<ConnectionTest> {
  const connection = await connectMysql(source);
  try {
    const rows = async (sql: string, values: unknown[] = []) =>
      (await connection.query<RowDataPacket[]>(sql, values))[0];
    const latency = await timed(() => rows("SELECT 1"));
    const { version, findings } = await mysqlSchema(connection, source.schema);
    const [size] = await rows(
      "SELECT SUM(DATA_LENGTH + INDEX_LENGTH) bytes, SUM(TABLE_ROWS) n FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?",
      [source.schema],
    );
    const schemas = await rows(
      "SELECT SCHEMA_NAME name FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1",
    );
    return {
      ...{ latency_ms: latency, version, bytes: number(size?.bytes), rows: number(size?.n), findings },
      ...{
        schemas: schemas.map(({ name }) => String(name)),
        replication: followed("binlog", await mysqlObstacles(connection)),
      },
    };
  } finally {
    connection.destroy();
  }
}

async function testPostgres(source: SourceConnection, config: string | null): Promise<ConnectionTest> {
  const client = await connectPostgres(source);
  try {
    const latency = await timed(() => client.query("SELECT 1"));
    const schema = await postgresSchema(client, source.schema);
    const { version, findings } = schema;
    const { rows } = await client.query(
      "SELECT sum(pg_total_relation_size(c.oid))::bigint AS bytes, sum(greatest(c.reltuples, 0))::bigint AS n FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'm')",
      [source.schema],
    );
    const composed = composeShape(schema, config);
    const tables = "shape" in composed ? publishable(composed.shape.tables) : [];
    const unpublished = await publicationObstacle(client, { schema: source.schema, tables });
    const obstacles = await postgresObstacles(client, source.user);
    const replication = followed("logical", unpublished === null ? obstacles : [...obstacles, unpublished]);
    const limit = replication.mode === "logical" ? await logLimitFinding(client) : [];
    const schemas = await client.query(
      "SELECT nspname AS name FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND has_schema_privilege(oid, 'USAGE') ORDER BY 1",
    );
    return {
      ...{ latency_ms: latency, version, bytes: number(rows[0]?.bytes), rows: number(rows[0]?.n) },
      ...{ schemas: schemas.rows.map(({ name }) => name), replication, findings: [...findings, ...limit] },
    };
  } finally {
    client.end().catch(() => {});
  }
}

/** A slot that stays behind, as of a host that was lost, is bounded by the source alone. */
async function logLimitFinding(client: pg.Client): Promise<SourceFinding[]> {
  const { rows } = await client.query("SELECT current_setting('max_slot_wal_keep_size', true) AS size");
  if (rows[0]?.size !== "-1") return [];
  const message =
    "max_slot_wal_keep_size is -1: a slot that stays behind, as when a host is lost, keeps the log until the disk is full";
  const fix = "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf()";
  return [{ severity: "warning", code: "log_unlimited", table: null, column: null, message, fix }];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return Math.round((performance.now() - started) * 100) / 100;
}

const number = (value: unknown): number | null => (value === null || value === undefined ? null : Number(value));

const followed = (mode: "binlog" | "logical", obstacles: SourceFailure[]): ConnectionTest["replication"] => ({
  mode: obstacles.length === 0 ? mode : "poll",
  findings: obstacles.map(({ code, message }) => ({ code, message })),
});
