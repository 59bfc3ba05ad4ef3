import { setTimeout as sleep } from "node:timers/promises";
import type { Connection, RowDataPacket } from "mysql2/promise";
import { type Shape, type ShapeTable, tableAt } from "../../shape/shape.ts";
import type { Table } from "../../store/table.ts";
import { SourceFailure } from "../failure.ts";
import { RowTally } from "../row-tally.ts";
import { type Evidence, SAMPLE_ROWS, samplePlaces } from "../sample.ts";
import type { LoadProgress } from "../source.ts";
import { MysqlPosition, parseGtids } from "./position.ts";

type Row = RowDataPacket & Record<string, string>;
type Field = { name: string; string(): string | null; buffer(): Buffer | null };
type Streaming = { query(options: unknown): { on(event: string, listener: (value: never) => void): void } };

/**
 * A transaction is in the log a moment before it can be seen. A snapshot from in between lacks what its position says that it has, and that would be missed
 * for good: so one counts that was begun after a moment in which nothing was written, and before anything was. What MariaDB says of a
 * snapshot (`binlog_snapshot_position`) is one transaction off in two of a thousand (10.11, under constant writes): taken only where a
 * source never rests that long.
 */
const TRIES = 50;
const PATIENT_TRIES = 10;
const QUIET_MS = 20;
const SHORT_QUIET_MS = 5;

/** Begins a transaction that sees one state of the source, and says which position of the log that is. */
export async function beginSnapshot(connection: Connection, hasLog: boolean): Promise<MysqlPosition> {
  const begin = async () => {
    await connection.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    await connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
  };
  if (!hasLog) {
    await begin();
    return new MysqlPosition(null, 0, null);
  }
  for (let attempt = 0; ; attempt++) {
    const before = await logPosition(connection);
    await sleep(attempt < PATIENT_TRIES ? QUIET_MS : SHORT_QUIET_MS);
    await begin();
    const own = await ownPosition(connection);
    const after = await logPosition(connection);
    if (before.compare(after) === 0) return before;
    if (attempt >= TRIES) {
      if (own !== null) return own;
      break;
    }
    await connection.query("ROLLBACK");
  }
  throw new SourceFailure(
    "initial_load_failed",
    `the source's log moved between each of ${TRIES} tries to begin a snapshot at one position`,
  );
}

/** MariaDB says by itself which position a snapshot is of: not always rightly (see above), but nearly. Null: this is not MariaDB. */
async function ownPosition(connection: Connection): Promise<MysqlPosition | null> {
  const [own] = await connection.query<Row[]>("SHOW STATUS LIKE 'binlog_snapshot_%'");
  const status = new Map(own.map((row) => [row.Variable_name?.toLowerCase(), row.Value]));
  const file = status.get("binlog_snapshot_file");
  if (!file) return null;
  const offset = Number(status.get("binlog_snapshot_position"));
  const [rows] = await connection.query<Row[]>("SELECT BINLOG_GTID_POS(?, ?) gtid", [file, offset]);
  return new MysqlPosition(file, offset, rows[0]?.gtid == null ? null : parseGtids(rows[0].gtid));
}

/** Where the log ends now. */
export async function logPosition(connection: Connection): Promise<MysqlPosition> {
  const status = async (sql: string): Promise<Row | undefined> => (await connection.query<Row[]>(sql))[0][0];
  const row = await status("SHOW MASTER STATUS").catch(() => status("SHOW BINARY LOG STATUS"));
  if (row?.File === undefined) throw new SourceFailure("binlog_off", "the source writes no binary log");
  const [[gtid]] = await connection
    .query<Row[]>("SELECT @@gtid_binlog_pos gtid")
    .catch(() => [[]] as unknown as [Row[]]);
  return new MysqlPosition(row.File, Number(row.Position), gtid?.gtid === undefined ? null : parseGtids(gtid.gtid));
}

export async function loadTables(
  connection: Connection,
  shape: Shape,
  into: ReadonlyMap<number, Table>,
  progress: LoadProgress,
): Promise<void> {
  for (const [place, table] of into) {
    progress.table(place);
    await readRows(connection, tableAt(shape, place), "", (texts) => table.append(table.read(texts)), progress);
  }
}

/** Of these tables those whose engine has transactions: of others a snapshot is of no one state. */
export async function withStates(connection: Connection, shape: Shape, places: Iterable<number>): Promise<number[]> {
  const [rows] = await connection.query<Row[]>(
    "SELECT TABLE_NAME name FROM information_schema.TABLES JOIN information_schema.ENGINES USING (ENGINE) WHERE TABLE_SCHEMA = ? AND TRANSACTIONS = 'YES'",
    [shape.schema],
  );
  const names = new Set(rows.map(({ name }) => name));
  return [...places].filter((place) => names.has(tableAt(shape, place).source));
}

/** Inside the transaction in which a table was loaded. */
export async function evidenceOf(connection: Connection, shape: Shape, place: number): Promise<Evidence> {
  const table = tableAt(shape, place);
  const [counted] = await connection.query<Row[]>(`SELECT COUNT(*) n FROM ${quoted(table.source)}`);
  const rows = Number(counted[0]?.n);
  const sample: Evidence["sample"] = [];
  const order = table.key.map((at) => quoted(table.columns[at]?.source ?? "")).join(", ");
  for (const from of table.key.length === 0 ? [] : samplePlaces(rows)) {
    const some = ` ORDER BY ${order} LIMIT ${SAMPLE_ROWS} OFFSET ${from}`;
    await readRows(connection, table, some, (texts) => sample.push(texts), { rows: () => {} });
  }
  return { place, rows, sample };
}

export const quoted = (name: string): string => `\`${name.replaceAll("`", "``")}\``;

function selected({ source, type }: ShapeTable["columns"][number], place: number): string {
  const name = quoted(source);
  // As text a FLOAT loses digits, and a BIT is bytes.
  if (type.kind === "float" && type.single) return `${name} + 0e0 AS c${place}`;
  if (type.kind === "bigint" || type.kind === "boolean") return `${name} + 0 AS c${place}`;
  return type.kind === "bytes" ? `${name} AS b${place}` : `${name} AS c${place}`;
}

function readRows(
  connection: Connection,
  { source, columns }: ShapeTable,
  which: string,
  take: (texts: (string | null)[]) => void,
  progress: Pick<LoadProgress, "rows">,
): Promise<void> {
  const sql = `SELECT ${columns.map(selected).join(", ")} FROM ${quoted(source)}${which}`;
  const tally = new RowTally(progress);
  const typeCast = (field: Field) => {
    const text = field.name.startsWith("b") ? (field.buffer()?.toString("base64") ?? null) : field.string();
    if (text !== null) tally.read(text.length);
    return text;
  };
  const streaming = (connection as unknown as { connection: Streaming & { destroy(): void } }).connection;
  return new Promise((resolve, reject) => {
    let failed = false;
    const fail = (error: Error) => {
      if (failed) return;
      failed = true;
      streaming.destroy();
      reject(error);
    };
    const query = streaming.query({ sql, rowsAsArray: true, typeCast });
    query.on("error", fail);
    query.on("result", (row: (string | null)[]) => {
      if (failed) return;
      try {
        take(row);
        tally.row();
      } catch (error) {
        fail(error as Error);
      }
    });
    query.on("end", () => {
      if (failed) return;
      tally.tell();
      resolve();
    });
  });
}
