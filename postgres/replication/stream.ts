import type { Connection } from "../connection.ts";
import { formatLsn, type Lsn, parseLsn } from "../lsn.ts";
import { dataRow, errorFields, type Message, message, rowDescription, ServerError } from "../message.ts";
import { identifier } from "./commands.ts";

/** A piece of the log. It may begin and end anywhere, also in the middle of a record, and go over the end of a segment. */
export type Piece = { start: Lsn; data: Buffer };

/** What has come since the last time. `ended`: this timeline goes no further; it branched into another, or the server stops. */
export type Arrival = { pieces: Piece[]; replyWanted: boolean; serverEnd: Lsn; ended: Ended | null };
export type Ended = { nextTimeline: number; from: Lsn } | "server stops";

const POSTGRES_EPOCH_US = 946_684_800_000_000n;

/** The log of one timeline, as the server sends it. */
export class ReplicationStream {
  readonly #connection: Connection;
  #serverEnd: Lsn;
  #names: string[] = [];

  static async start(
    connection: Connection,
    { slot, from, timeline }: { slot?: string | undefined; from: Lsn; timeline: number },
  ): Promise<ReplicationStream | Ended> {
    const withSlot = slot === undefined ? "" : `SLOT ${identifier(slot)} `;
    connection.send(`START_REPLICATION ${withSlot}PHYSICAL ${formatLsn(from)} TIMELINE ${timeline}`);
    const stream = new ReplicationStream(connection, from);
    for (;;) {
      const first = await connection.next();
      if (first.type === "W") return stream;
      // Nothing is left on a timeline that ended exactly here: the server says at once which is next.
      if (first.type === "E") {
        await untilReady(connection);
        throw new ServerError(errorFields(first.body));
      }
      const ended = stream.#readEnd(first);
      if (ended) {
        await untilReady(connection);
        return ended;
      }
      if (first.type === "Z") return "server stops";
    }
  }

  private constructor(connection: Connection, from: Lsn) {
    this.#connection = connection;
    this.#serverEnd = from;
  }

  /** Everything that has come, once something has. */
  async receive(): Promise<Arrival> {
    const arrival: Arrival = { pieces: [], replyWanted: false, serverEnd: this.#serverEnd, ended: null };
    for (const each of await this.#connection.receive()) {
      if (each.type === "d") this.#read(each.body, arrival);
      else if (each.type === "E") throw new ServerError(errorFields(each.body));
      // At the end of a timeline nothing comes between this and our own answer to it.
      else if (each.type === "c") arrival.ended = await this.#finish();
      // A server that shuts down says only this, after everything was confirmed.
      else if (each.type === "C") arrival.ended ??= "server stops";
    }
    arrival.serverEnd = this.#serverEnd;
    return arrival;
  }

  /** Tells the server how far its log is kept. What was confirmed as flushed is what a waiting commit is acknowledged by. */
  confirm(written: Lsn, flushed: Lsn, replyWanted = false): void {
    const body = Buffer.alloc(34);
    body.write("r", 0, "latin1");
    body.writeBigUInt64BE(written, 1);
    body.writeBigUInt64BE(flushed, 9);
    // Applied: nothing ever is, and a commit with synchronous_commit = remote_apply would wait for ever. Nobody can read here what was not.
    body.writeBigUInt64BE(flushed, 17);
    body.writeBigInt64BE(BigInt(Date.now()) * 1000n - POSTGRES_EPOCH_US, 25);
    body[33] = replyWanted ? 1 : 0;
    this.#connection.write(message("d", body));
  }

  #read(body: Buffer, arrival: Arrival): void {
    const kind = body[0];
    if (kind === 0x77) {
      arrival.pieces.push({ start: body.readBigUInt64BE(1), data: body.subarray(25) });
      this.#serverEnd = body.readBigUInt64BE(9);
    } else if (kind === 0x6b) {
      this.#serverEnd = body.readBigUInt64BE(1);
      if (body[17] === 1) arrival.replyWanted = true;
    }
  }

  /** The server has ended the copy: ours ends too, and it says why. */
  async #finish(): Promise<Ended> {
    this.#connection.write(message("c"));
    let ended: Ended = "server stops";
    for (;;) {
      const each = await this.#connection.next().catch(() => null);
      if (each === null || each.type === "Z") return ended;
      if (each.type === "E") throw new ServerError(errorFields(each.body));
      ended = this.#readEnd(each) ?? ended;
    }
  }

  #readEnd({ type, body }: Message): Ended | null {
    if (type === "T") this.#names = rowDescription(body);
    if (type !== "D") return null;
    const row = Object.fromEntries(dataRow(body).map((value, i) => [this.#names[i], value]));
    return { nextTimeline: Number(row.next_tli), from: parseLsn(row.next_tli_startpos ?? "") };
  }
}

async function untilReady(connection: Connection): Promise<void> {
  while ((await connection.next()).type !== "Z");
}
