import type pg from "pg";
import { SourceFailure, sourceFailure } from "../failure.ts";

/** Of pg's client, what it has for COPY in both directions, and its types do not tell. */
type RawClient = {
  connection: {
    on(event: "copyData", listener: (message: { chunk: Buffer }) => void): void;
    sendCopyFromChunk(chunk: Buffer): void;
    stream: { pause(): void; resume(): void; destroy(): void };
  };
};

export type Arrival = { kind: "data"; data: Buffer } | { kind: "keepalive"; end: bigint };

const STATUS_EVERY_MS = 500;
const SILENCE_MS = 15_000;
const MOST_WAITING = 5000;
const EPOCH_US = 946_684_800_000_000n;

/** What a slot's output plugin says, from a position on. */
export class ReplicationStream {
  readonly #connection: RawClient["connection"];
  #waiting: Arrival[] = [];
  #isPaused = false;
  #end: Error | null = null;
  #wake: () => void = () => {};
  #heard: number = performance.now();
  #flushed: () => bigint;
  readonly #status: NodeJS.Timeout;

  /** @param flushed up to where the server need not keep its log */
  static async start(client: pg.Client, command: string, flushed: () => bigint): Promise<ReplicationStream> {
    const stream = new ReplicationStream(client, flushed);
    // It is answered only when the stream has ended.
    client.query(command).then(
      () => stream.#over(new SourceFailure("stream_disconnected", "the source ended the stream")),
      (error: Error) => stream.#over(streamFailure(error)),
    );
    return stream;
  }

  private constructor(client: pg.Client, flushed: () => bigint) {
    this.#connection = (client as unknown as RawClient).connection;
    this.#flushed = flushed;
    this.#connection.on("copyData", ({ chunk }) => this.#take(chunk));
    client.on("error", (error) => this.#over(error));
    client.on("end", () => this.#over(new SourceFailure("stream_disconnected", "the source closed the connection")));
    this.#status = setInterval(() => {
      if (!this.#isPaused && performance.now() - this.#heard > SILENCE_MS)
        this.#over(new SourceFailure("stream_disconnected", `the source has sent nothing for ${SILENCE_MS / 1000} s`));
      else this.report(true);
    }, STATUS_EVERY_MS);
    this.#status.unref();
  }

  async receive(): Promise<Arrival[]> {
    while (this.#waiting.length === 0) {
      if (this.#end !== null) throw this.#end;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const arrivals = this.#waiting;
    this.#waiting = [];
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#heard = performance.now();
      this.#connection.stream.resume();
    }
    return arrivals;
  }

  /** Tells the server how far this is. @param reply it should say how far it is itself */
  report(reply: boolean): void {
    if (this.#end !== null) return;
    const body = Buffer.alloc(34);
    body.write("r", 0, "latin1");
    for (const at of [1, 9, 17]) body.writeBigUInt64BE(this.#flushed(), at);
    body.writeBigInt64BE(BigInt(Date.now()) * 1000n - EPOCH_US, 25);
    body[33] = reply ? 1 : 0;
    this.#connection.sendCopyFromChunk(body);
  }

  close(): void {
    this.#over(new SourceFailure("stream_disconnected", "closed"));
  }

  #take(chunk: Buffer): void {
    this.#heard = performance.now();
    const kind = chunk[0];
    if (kind === 0x77) this.#waiting.push({ kind: "data", data: Buffer.from(chunk.subarray(25)) });
    else if (kind === 0x6b) {
      this.#waiting.push({ kind: "keepalive", end: chunk.readBigUInt64BE(1) });
      if (chunk[17] === 1) this.report(false);
    }
    if (this.#waiting.length > MOST_WAITING && !this.#isPaused) {
      this.#isPaused = true;
      this.#connection.stream.pause();
    }
    this.#wake();
  }

  #over(error: Error): void {
    if (this.#end !== null) return;
    this.#end = sourceFailure(error, "stream_disconnected");
    clearInterval(this.#status);
    this.#connection.stream.destroy();
    this.#wake();
  }
}

/** Why a server does not send from a slot. */
function streamFailure(error: Error & { code?: string }): Error {
  // Without the slot, or with its log removed, there is no going on.
  if (error.code === "42704" || error.code === "55000" || error.code === "58P01") {
    if (/publication/.test(error.message)) return new SourceFailure("publication_missing", error.message, error);
    return new SourceFailure("log_purged", error.message, error);
  }
  return sourceFailure(error, "stream_disconnected");
}
