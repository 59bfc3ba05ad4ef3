import { EventEmitter } from "node:events";
import type { Connection } from "mysql2/promise";
import { SourceFailure, sourceFailure } from "../failure.ts";
import type { MysqlPosition } from "./position.ts";

/** Of mysql2's connection, what its own commands use of it, and mysql2's types do not tell. */
type RawConnection = {
  addCommand(command: unknown): void;
  writePacket(packet: unknown): void;
  _resetSequenceId(): void;
  stream: { pause(): void; resume(): void; destroy(): void };
  destroy(): void;
  clientEncoding: string;
  on(event: "error" | "end", listener: (error: Error) => void): void;
};
type RawPacket = {
  buffer: Buffer;
  offset: number;
  end: number;
  isError(): boolean;
  isEOF(): boolean;
  asError(encoding: string): Error;
};

const COM_BINLOG_DUMP = 0x12;
const HEARTBEAT_MS = 500;
/** A server that sends not even a heartbeat for this long is gone, whatever the socket says. */
const SILENCE_MS = 15_000;
const MOST_WAITING = 2000;

/** The log of a server from a position on, event by event. */
export class BinlogStream {
  readonly #connection: RawConnection;
  #waiting: Buffer[] = [];
  #isPaused = false;
  #end: Error | null = null;
  #wake: () => void = () => {};
  #heard: number = performance.now();
  readonly #watch: NodeJS.Timeout;

  /** @param connection is this stream's own from here on */
  static async open(connection: Connection, from: MysqlPosition, serverId: number): Promise<BinlogStream> {
    const byGtid = from.gtids !== null;
    try {
      await connection.query(`SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum, @mariadb_slave_capability = 4,
        @master_heartbeat_period = ${HEARTBEAT_MS}000000, @source_heartbeat_period = ${HEARTBEAT_MS}000000`);
      if (byGtid) await connection.query("SET @slave_connect_state = ?, @slave_gtid_strict_mode = 0", [from.gtidText]);
    } catch (error) {
      throw sourceFailure(error, "stream_disconnected");
    }
    const raw = (connection as unknown as { connection: RawConnection }).connection;
    return new BinlogStream(raw, byGtid ? "" : (from.file ?? ""), byGtid ? 4 : from.offset, serverId);
  }

  private constructor(connection: RawConnection, file: string, offset: number, serverId: number) {
    this.#connection = connection;
    const name = Buffer.from(file);
    const body = Buffer.alloc(11 + name.length);
    body[0] = COM_BINLOG_DUMP;
    body.writeUInt32LE(offset, 1);
    body.writeUInt32LE(serverId, 7);
    name.copy(body, 11);
    connection.on("error", (error) => this.#over(error));
    connection.on("end", () =>
      this.#over(new SourceFailure("stream_disconnected", "the source closed the connection")),
    );
    connection.addCommand(command(body, (packet) => this.#take(packet), connection));
    this.#watch = setInterval(() => {
      if (!this.#isPaused && performance.now() - this.#heard > SILENCE_MS)
        this.#over(new SourceFailure("stream_disconnected", `the source has sent nothing for ${SILENCE_MS / 1000} s`));
    }, 1000);
    this.#watch.unref();
  }

  /** All events that have come, once some have. */
  async receive(): Promise<Buffer[]> {
    while (this.#waiting.length === 0) {
      if (this.#end !== null) throw this.#end;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const events = this.#waiting;
    this.#waiting = [];
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#heard = performance.now();
      this.#connection.stream.resume();
    }
    return events;
  }

  close(): void {
    this.#over(new SourceFailure("stream_disconnected", "closed"));
  }

  #take(packet: RawPacket): boolean {
    this.#heard = performance.now();
    if (packet.isError()) {
      this.#over(logFailure(packet.asError(this.#connection.clientEncoding)));
      return true;
    }
    if (packet.isEOF()) {
      this.#over(new SourceFailure("stream_disconnected", "the source ended its log"));
      return true;
    }
    // The buffer is the socket's: what is kept is copied.
    this.#waiting.push(Buffer.from(packet.buffer.subarray(packet.offset + 1, packet.end)));
    if (this.#waiting.length > MOST_WAITING && !this.#isPaused) {
      this.#isPaused = true;
      this.#connection.stream.pause();
    }
    this.#wake();
    return false;
  }

  #over(error: Error): void {
    if (this.#end !== null) return;
    this.#end = sourceFailure(error, "stream_disconnected");
    clearInterval(this.#watch);
    this.#connection.destroy();
    // mysql2 only says that nothing more comes from here, and the server would go on sending.
    this.#connection.stream.destroy();
    this.#wake();
  }
}

/** A command as mysql2 runs its own: first without a packet, then with each that comes, until it says that it is done. */
function command(body: Buffer, take: (packet: RawPacket) => boolean, connection: RawConnection) {
  let isSent = false;
  return Object.assign(new EventEmitter(), {
    execute(packet: RawPacket | null): boolean {
      if (isSent) return packet === null ? false : take(packet);
      isSent = true;
      connection._resetSequenceId();
      connection.writePacket(packetOf(body));
      return false;
    },
  });
}

/** A packet as mysql2 writes it: its header is filled in by whoever writes. */
function packetOf(body: Buffer) {
  const buffer = Buffer.concat([Buffer.alloc(4), body]);
  return {
    buffer,
    length: () => buffer.length,
    writeHeader(sequence: number) {
      buffer.writeUIntLE(body.length, 0, 3);
      buffer[3] = sequence;
    },
    _name: "BinlogDump",
  };
}

/** Why a server does not send its log. */
function logFailure(error: Error): Error {
  const { errno, message } = error as Error & { errno?: number };
  if (/same server_(uuid|id)|slave with the same/i.test(message))
    return new SourceFailure("server_id_conflict", message, error);
  if (errno === 1236 || errno === 1373) return new SourceFailure("log_purged", message, error);
  if (errno === 1227 || errno === 1045) return new SourceFailure("repl_grant_missing", message, error);
  return sourceFailure(error, "stream_disconnected");
}
