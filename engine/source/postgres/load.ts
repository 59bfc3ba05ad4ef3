import type pg from "pg";
import { type Shape, type ShapeTable, tableAt } from "../../shape/shape.ts";
import type { Table } from "../../store/table.ts";
import { RowTally } from "../row-tally.ts";
import { type Evidence, SAMPLE_ROWS, samplePlaces } from "../sample.ts";
import type { LoadProgress } from "../source.ts";

export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;

export async function loadTables(
  client: pg.Client,
  shape: Shape,
  into: ReadonlyMap<number, Table>,
  progress: LoadProgress,
): Promise<void> {
  for (const [place, table] of into) {
    progress.table(place);
    await copyRows(client, shape, place, "", (texts) => table.append(table.read(texts)), progress);
  }
}

/** Inside the transaction in which a table was loaded. */
export async function evidenceOf(client: pg.Client, shape: Shape, place: number): Promise<Evidence> {
  const { columns, key } = tableAt(shape, place);
  const counted = await client.query(`SELECT count(*) AS n FROM ${fullName(shape, place)}`);
  const rows = Number(counted.rows[0]?.n);
  const sample: Evidence["sample"] = [];
  const order = key.map((at) => selected(columns[at] as ShapeTable["columns"][number])).join(", ");
  for (const from of key.length === 0 ? [] : samplePlaces(rows)) {
    const some = ` ORDER BY ${order} LIMIT ${SAMPLE_ROWS} OFFSET ${from}`;
    await copyRows(client, shape, place, some, (texts) => sample.push(texts), { rows: () => {} });
  }
  return { place, rows, sample };
}

const fullName = (shape: Shape, place: number): string =>
  `${identifier(shape.schema)}.${identifier(tableAt(shape, place).source)}`;

function copyRows(
  client: pg.Client,
  shape: Shape,
  place: number,
  which: string,
  row: (texts: (string | null)[]) => void,
  progress: Pick<LoadProgress, "rows">,
): Promise<void> {
  const { columns } = tableAt(shape, place);
  const query = `COPY (SELECT ${columns.map(selected).join(", ")} FROM ${fullName(shape, place)}${which}) TO STDOUT`;
  return copyOut(client, query, columns.length, row, progress);
}

/** bpchar has its padding only as itself; all others are as their output functions print them. */
const selected = ({ source }: ShapeTable["columns"][number]): string => identifier(source);

type RawConnection = { query(text: string): void; stream: { destroy(error?: Error): void } };

/** A query as pg runs its own (as pg-cursor does): it is handed each message that comes for it. */
function copyOut(
  client: pg.Client,
  text: string,
  width: number,
  row: (texts: (string | null)[]) => void,
  progress: Pick<LoadProgress, "rows">,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const tally = new RowTally(progress);
    let failure: Error | null = null;
    const fail = (error: Error) => {
      failure ??= error;
      reject(failure);
    };
    const submittable = {
      submit(connection: RawConnection) {
        connection.query(text);
      },
      handleCopyData({ chunk }: { chunk: Buffer }, connection: RawConnection) {
        if (failure !== null) return;
        try {
          row(readRow(chunk, width));
          tally.read(chunk.length);
          tally.row();
        } catch (error) {
          fail(error as Error);
          connection.stream.destroy();
        }
      },
      handleError: fail,
      handleCommandComplete() {},
      handleReadyForQuery() {
        tally.tell();
        if (failure === null) resolve();
      },
      callback: (error?: Error) => {
        if (error) fail(error);
      },
    };
    client.query(submittable as unknown as pg.Submittable);
    client.once("end", () => fail(new Error("the source closed the connection")));
  });
}

const [TAB, NEWLINE, BACKSLASH, LETTER_N] = [0x09, 0x0a, 0x5c, 0x4e];

/** One row in COPY's text format. Each message has one. */
function readRow(chunk: Buffer, width: number): (string | null)[] {
  const texts: (string | null)[] = new Array(width);
  const end = chunk[chunk.length - 1] === NEWLINE ? chunk.length - 1 : chunk.length;
  const hasEscapes = chunk.indexOf(BACKSLASH) >= 0;
  let from = 0;
  for (let i = 0; i < width; i++) {
    let to = chunk.indexOf(TAB, from);
    if (to < 0 || i === width - 1) to = end;
    if (!hasEscapes) texts[i] = chunk.toString("utf8", from, to);
    else if (to - from === 2 && chunk[from] === BACKSLASH && chunk[from + 1] === LETTER_N) texts[i] = null;
    else texts[i] = unescaped(chunk.toString("utf8", from, to));
    from = to + 1;
  }
  return texts;
}

const ESCAPES: Record<string, string> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" };

const unescaped = (text: string): string =>
  text.includes("\\") ? text.replace(/\\(.)/gs, (_, next: string) => ESCAPES[next] ?? next) : text;
