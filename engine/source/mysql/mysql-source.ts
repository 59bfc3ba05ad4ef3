import { randomInt } from "node:crypto";
import type { Connection, RowDataPacket } from "mysql2/promise";
import type { SourceConnection, SyncMode, SyncSettings } from "../../../contract/engine.ts";
import type { SourceSchema } from "../../../contract/source-schema.ts";
import { mysqlSchema } from "../../schema/mysql.ts";
import type { Shape } from "../../shape/shape.ts";
import type { Table } from "../../store/table.ts";
import { connectMysql } from "../connect.ts";
import { SourceFailure, sourceFailure } from "../failure.ts";
import { Probe } from "../probe.ts";
import type { LoadProgress, Position, Sink, Source, Witness } from "../source.ts";
import { BinlogStream } from "./binlog-stream.ts";
import { layoutsOf } from "./layout.ts";
import { beginSnapshot, evidenceOf, loadTables, logPosition, withStates } from "./load.ts";
import { MysqlPosition } from "./position.ts";
import { Transactions } from "./transactions.ts";

/** MySQL or MariaDB, followed by its binary log. */
export class MysqlSource implements Source {
  readonly mode: SyncMode;
  readonly reason: Source["reason"];
  readonly unseen: readonly number[] = [];
  readonly #source: SourceConnection;
  readonly #shape: Shape;
  readonly #serverId: number;
  /** For short questions; opened when there is one. */
  #aside: Promise<Connection> | null = null;

  static async open(source: SourceConnection, shape: Shape, sync: SyncSettings): Promise<MysqlSource> {
    if (sync.mode === "poll") return new MysqlSource(source, shape, sync, "poll", null);
    const connection = await connectMysql(source);
    try {
      const [reason = null] = await obstaclesOf(connection);
      if (reason !== null && sync.mode !== null) throw reason;
      return new MysqlSource(source, shape, sync, reason === null ? "binlog" : "poll", reason);
    } finally {
      connection.destroy();
    }
  }

  private constructor(
    source: SourceConnection,
    shape: Shape,
    sync: SyncSettings,
    mode: SyncMode,
    reason: SourceFailure | null,
  ) {
    this.#source = source;
    this.#shape = shape;
    this.mode = mode;
    this.reason = reason === null ? null : { code: reason.code, message: reason.message };
    this.#serverId = sync.serverId ?? randomInt(0x4000_0000, 0xffff_ffff);
  }

  async snapshot(into: ReadonlyMap<number, Table>, progress: LoadProgress, witness?: Witness): Promise<Position> {
    const connection = await connectMysql(this.#source);
    try {
      const position = await beginSnapshot(connection, this.mode === "binlog");
      await loadTables(connection, this.#shape, into, progress);
      if (witness !== undefined)
        for (const place of await withStates(connection, this.#shape, into.keys()))
          witness(await evidenceOf(connection, this.#shape, place));
      return position;
    } catch (error) {
      throw sourceFailure(error, "initial_load_failed");
    } finally {
      connection.destroy();
    }
  }

  async follow(from: Position, sink: Sink, signal: AbortSignal): Promise<void> {
    const [connection, aside] = [await connectMysql(this.#source), await connectMysql(this.#source)];
    let stream: BinlogStream | null = null;
    const stop = () => stream?.close();
    try {
      const transactions = new Transactions(this.#shape, from as MysqlPosition, await layoutsOf(aside, this.#shape));
      stream = await BinlogStream.open(connection, from as MysqlPosition, this.#serverId);
      signal.addEventListener("abort", stop);
      let last = from;
      const probe = new Probe(
        () => logPosition(aside),
        (a, b) => this.compare(a, b),
        (asOf) => sink.caughtUp(last, asOf),
      );
      while (!signal.aborted) {
        for (const event of await stream.receive()) {
          const step = transactions.take(event);
          if (step === null) continue;
          if (signal.aborted) return;
          if (step.kind === "caught up") {
            // Heartbeats come only where there is nothing else to send.
            last = step.position;
            sink.caughtUp(last, Date.now());
          } else {
            if (step.redefined) transactions.layouts = await layoutsOf(aside, this.#shape);
            const held = sink.apply(step.transaction);
            if (held !== undefined) await held;
            if (step.redefined) await sink.redefined();
            last = step.transaction.position;
            probe.isAt(last);
          }
        }
      }
    } catch (error) {
      if (!signal.aborted) throw sourceFailure(error, "stream_disconnected");
    } finally {
      signal.removeEventListener("abort", stop);
      stream?.close();
      connection.destroy();
      aside.destroy();
    }
  }

  now(): Promise<Position> {
    return this.#ask((connection) =>
      this.mode === "binlog" ? logPosition(connection) : Promise.resolve(new MysqlPosition(null, 0, null)),
    );
  }

  compare(a: Position, b: Position): number {
    return (a as MysqlPosition).compare(b as MysqlPosition);
  }

  parse(text: string): Position | null {
    return MysqlPosition.parse(text);
  }

  /** Nothing is kept here for anyone: the log is purged when the source's settings say so. */
  forget(): void {}

  async leaveOff(): Promise<null> {
    return null;
  }

  schema(): Promise<SourceSchema> {
    return this.#ask((connection) => mysqlSchema(connection, this.#shape.schema));
  }

  estimate(): Promise<number | null> {
    const sql = "SELECT SUM(TABLE_ROWS) n FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME IN (?)";
    return this.#ask(async (connection) => {
      const names = this.#shape.tables.map(({ source }) => source);
      const [rows] = await connection.query<(RowDataPacket & { n: string | null })[]>(sql, [this.#shape.schema, names]);
      return rows[0]?.n == null ? null : Number(rows[0].n);
    });
  }

  async close(): Promise<void> {
    const aside = this.#aside;
    this.#aside = null;
    if (aside !== null) (await aside.catch(() => null))?.destroy();
  }

  async #ask<T>(question: (connection: Connection) => Promise<T>): Promise<T> {
    this.#aside ??= connectMysql(this.#source);
    const asked = this.#aside;
    try {
      return await question(await asked);
    } catch (error) {
      if (this.#aside === asked) this.#aside = null;
      asked.then((connection) => connection.destroy()).catch(() => {});
      throw sourceFailure(error, "stream_disconnected");
    }
  }
}

/** What a binary log must be for its rows to be followed and is not, each with the statement that makes it so. */
export async function obstaclesOf(connection: Connection): Promise<SourceFailure[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    "SHOW VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image')",
  );
  const value = new Map(rows.map((row) => [row.Variable_name as string, String(row.Value).toUpperCase()]));
  const found: SourceFailure[] = [];
  const hasLog = value.get("log_bin") === "ON";
  if (!hasLog) found.push(new SourceFailure("binlog_off", "log_bin is OFF: start the server with --log-bin"));
  if (value.get("binlog_format") !== "ROW")
    found.push(
      new SourceFailure(
        "binlog_format",
        `binlog_format is ${value.get("binlog_format")}: SET GLOBAL binlog_format = 'ROW'`,
      ),
    );
  if ((value.get("binlog_row_image") ?? "FULL") !== "FULL")
    found.push(
      new SourceFailure(
        "row_image",
        `binlog_row_image is ${value.get("binlog_row_image")}: SET GLOBAL binlog_row_image = 'FULL'`,
      ),
    );
  const denied = hasLog
    ? await logPosition(connection).then(
        () => null,
        (error: unknown) => ({ error }),
      )
    : null;
  if (denied !== null) {
    const [[user]] = (await connection.query<RowDataPacket[]>("SELECT CURRENT_USER() name")) as [
      RowDataPacket[],
      unknown,
    ];
    const [name = "", host = "%"] = String(user?.name).split("@");
    const grant = `GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '${name}'@'${host}'`;
    found.push(new SourceFailure("repl_grant_missing", grant, denied.error));
  }
  return found;
}
