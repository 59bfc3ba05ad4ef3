// The two kinds of source, each with an empty database, behind one face.
import mysql from "mysql2/promise";
import pg from "pg";
import { Cluster } from "../gateway/cluster.ts";
import { requires } from "../requires.ts";
import { MariaDb } from "./mariadb.ts";
import type { Dialect } from "./shop.ts";

export type TestSource = {
  dialect: Dialect;
  connection: {
    kind: Dialect;
    host: string;
    port: number;
    user: string;
    password: string;
    database?: string;
    schema: string;
  };
  /** Every value as text. */
  ask(sql: string): Promise<Record<string, unknown>[]>;
  run(...statements: string[]): Promise<void>;
  position(): Promise<string>;
  /** kill -9, and start again. */
  restart(): Promise<void>;
  close(): Promise<void>;
};

export const parts = { mysql: await requires("mariadb"), postgres: await requires("postgres") };

export async function testSource(dialect: Dialect, settings: readonly string[] = []): Promise<TestSource> {
  return dialect === "mysql" ? mariadbSource(settings) : postgresSource();
}

async function mariadbSource(settings: readonly string[]): Promise<TestSource> {
  const server = await MariaDb.start(parts.mysql.path, settings);
  const open = () =>
    mysql.createConnection({
      host: "127.0.0.1",
      port: server.port,
      user: "root",
      password: "secret",
      database: "mysql",
      // MariaDB takes BETWEEN 'A' AND 'a' for an equality where they are equal in the collation of the connection, whatever that of the column.
      charset: "UTF8MB4_BIN",
      dateStrings: true,
      supportBigNumbers: true,
      bigNumberStrings: true,
    });
  let client = await open();
  await client.query("CREATE DATABASE shop");
  await client.query("USE shop");
  return {
    dialect: "mysql",
    connection: {
      kind: "mysql",
      host: "127.0.0.1",
      port: server.port,
      user: "root",
      password: "secret",
      schema: "shop",
    },
    ask: async (sql) => (await client.query(sql))[0] as Record<string, unknown>[],
    run: async (...statements) => {
      for (const sql of statements) await client.query(sql);
    },
    position: async () => {
      const [rows] = await client.query("SELECT @@gtid_binlog_pos AS at");
      return (rows as { at: string }[])[0]?.at ?? "";
    },
    restart: async () => {
      client.destroy();
      await server.stop("SIGKILL");
      await server.run();
      client = await open();
      await client.query("USE shop");
    },
    close: async () => {
      client.destroy();
      await server.remove();
    },
  };
}

async function postgresSource(): Promise<TestSource> {
  const cluster = await Cluster.create(parts.postgres.path, {
    wal_level: "logical",
    max_wal_senders: "20",
    max_replication_slots: "20",
    wal_sender_timeout: "20s",
  });
  await cluster.start();
  await cluster.admin("CREATE ROLE app SUPERUSER LOGIN PASSWORD 'secret'");
  const text = { getTypeParser: () => (value: string) => value };
  const open = async () => {
    const opened = new pg.Client({
      host: "127.0.0.1",
      port: cluster.port,
      user: "app",
      password: "secret",
      database: "postgres",
      types: text as never,
    });
    opened.on("error", () => {});
    await opened.connect();
    return opened;
  };
  let client = await open();
  return {
    dialect: "postgres",
    connection: {
      kind: "postgres",
      host: "127.0.0.1",
      port: cluster.port,
      user: "app",
      password: "secret",
      database: "postgres",
      schema: "public",
    },
    ask: async (sql) => (await client.query(sql)).rows,
    run: async (...statements) => {
      for (const sql of statements) await client.query(sql);
    },
    position: async () => (await client.query("SELECT pg_current_wal_lsn() AS at")).rows[0].at,
    restart: async () => {
      await cluster.stop("kill");
      await cluster.start();
      client = await open();
    },
    close: async () => {
      await client.end().catch(() => {});
      await cluster.remove();
    },
  };
}
