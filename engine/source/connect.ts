import type { ConnectionOptions as TlsOptions } from "node:tls";
import mysql from "mysql2";
import type { Connection as MysqlConnection } from "mysql2/promise";
import pg from "pg";
import type { SourceConnection } from "../../contract/engine.ts";
import { sourceFailure } from "./failure.ts";

const CONNECT_WITHIN_MS = 10_000;

/** With UTC as its time zone and utf8mb4 as its character set, whatever the server's own are. */
export async function connectMysql(source: SourceConnection): Promise<MysqlConnection> {
  const options: mysql.ConnectionOptions = {
    ...{ host: source.host, port: source.port, user: source.user, password: source.password },
    ...{ database: source.schema, charset: "utf8mb4", connectTimeout: CONNECT_WITHIN_MS, flags: ["-FOUND_ROWS"] },
    ...{ supportBigNumbers: true, bigNumberStrings: true, dateStrings: true, enableKeepAlive: true },
  };
  const tls = tlsOf(source);
  if (tls !== undefined)
    options.ssl = { ...tls, verifyIdentity: source.tls.mode === "verify-full" } as mysql.SslOptions;
  const connection = mysql.createConnection(options);
  // What goes wrong is told to whoever is waiting for an answer.
  connection.on("error", () => {});
  try {
    await new Promise<void>((resolve, reject) => connection.connect((error) => (error ? reject(error) : resolve())));
    const open = connection.promise() as unknown as MysqlConnection;
    await open.query("SET time_zone = '+00:00', sql_mode = '', NAMES utf8mb4, net_write_timeout = 600");
    return open;
  } catch (error) {
    connection.destroy();
    throw sourceFailure(error, "connect_timeout");
  }
}

/** @param replication a connection that understands the commands of replication */
export async function connectPostgres(source: SourceConnection, replication = false): Promise<pg.Client> {
  const tls = tlsOf(source);
  const client = new pg.Client({
    ...{ host: source.host, port: source.port, user: source.user, password: source.password },
    ...{ database: source.database ?? source.user, connectionTimeoutMillis: CONNECT_WITHIN_MS, keepAlive: true },
    ...(tls === undefined
      ? {}
      : { ssl: source.tls.mode === "verify-ca" ? { ...tls, checkServerIdentity: () => undefined } : tls }),
    ...(replication ? { replication: "database" } : {}),
    application_name: "lamplighter engine",
  } as pg.ClientConfig);
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query(
      "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'hex'; SET extra_float_digits = 3; SET lc_monetary = 'C'; SET statement_timeout = 0; SET search_path = pg_catalog",
    );
    return client;
  } catch (error) {
    client.end().catch(() => {});
    throw sourceFailure(error, "connect_timeout");
  }
}

function tlsOf({ host, tls }: SourceConnection): TlsOptions | undefined {
  if (tls.mode === "disable") return undefined;
  const verified = tls.mode !== "require";
  return {
    rejectUnauthorized: verified,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(/^[\d.:]+$/.test(host) ? {} : { servername: host }),
  };
}
