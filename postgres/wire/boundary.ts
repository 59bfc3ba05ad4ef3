import { TYPE } from "./message.ts";

/** Longer notices and errors are not looked into. */
const REPORT_MOST = 16 * 1024;

/**
 * Follows where messages begin and end in a stream that passes by, without copying or making anything: only lengths are read.
 * Notices and errors, which are few, are collected and shown to `report`.
 */
abstract class Boundary {
  /** Bytes of the present message that are still to come. */
  #left = 0;
  /** Of a header that is split between two chunks. */
  #headerSeen = 0;
  #type = 0;
  #length = 0;
  /** The stream does not follow the protocol; nothing is known about it from there on. */
  lost = false;

  protected abstract begin(type: number): void;
  /** Some of a message's body, `chunk[start, end)`; `ends` when that is the last of it. Answers false to stop right after this message. */
  protected abstract body(type: number, chunk: Buffer, start: number, end: number, ends: boolean): boolean;

  /** True between two messages. */
  get between(): boolean {
    return this.#left === 0 && this.#headerSeen === 0 && !this.lost;
  }

  /** Follows a chunk. Answers how much of it may pass: all of it, unless a message said stop. */
  follow(chunk: Buffer): number {
    const size = chunk.length;
    let at = 0;
    while (at < size && !this.lost) {
      if (this.#left === 0) {
        if (this.#headerSeen === 0 && size - at >= 5) {
          this.#type = chunk[at] as number;
          this.#length =
            ((chunk[at + 1] as number) << 24) |
            ((chunk[at + 2] as number) << 16) |
            ((chunk[at + 3] as number) << 8) |
            (chunk[at + 4] as number);
          at += 5;
        } else {
          const byte = chunk[at++] as number;
          if (this.#headerSeen === 0) {
            this.#type = byte;
            this.#length = 0;
          } else this.#length = (this.#length << 8) | byte;
          if (++this.#headerSeen < 5) continue;
          this.#headerSeen = 0;
        }
        this.#left = this.#length - 4;
        if (this.#left < 0) {
          this.lost = true;
          break;
        }
        this.begin(this.#type);
        if (this.#left > 0) continue;
        if (!this.body(this.#type, chunk, at, at, true)) return at;
        continue;
      }
      const end = Math.min(size, at + this.#left);
      this.#left -= end - at;
      const start = at;
      at = end;
      if (!this.body(this.#type, chunk, start, end, this.#left === 0)) return at;
    }
    return size;
  }
}

/** What the client has asked and not been answered yet. */
export class ClientBoundary extends Boundary {
  /** How many ReadyForQuery are owed for what was sent. */
  sent = 0;
  /** The last whole or partial message was Terminate. */
  terminated = false;

  protected override begin(type: number): void {
    if (type === TYPE.query || type === TYPE.sync || type === TYPE.functionCall) this.sent++;
    this.terminated = type === TYPE.terminate;
  }

  protected override body(): boolean {
    return true;
  }
}

/** What the server has answered. */
export class ServerBoundary extends Boundary {
  answered = 0;
  /** `I`, `T` or `E` of the last ReadyForQuery. */
  status = 0x49;
  readonly #report: (type: number, body: Buffer) => "pass" | "stop";
  #held: Buffer[] | null = null;
  #heldBytes = 0;

  /** @param report shown each error and notice once it is whole; `stop` lets nothing pass after it */
  constructor(report: (type: number, body: Buffer) => "pass" | "stop") {
    super();
    this.#report = report;
  }

  protected override begin(type: number): void {
    this.#held = type === TYPE.noticeResponse || type === TYPE.errorResponse ? [] : null;
    this.#heldBytes = 0;
  }

  protected override body(type: number, chunk: Buffer, start: number, end: number, ends: boolean): boolean {
    if (type === TYPE.readyForQuery) {
      if (end > start) this.status = chunk[end - 1] as number;
      if (ends) this.answered++;
      return true;
    }
    if (this.#held === null) return true;
    this.#heldBytes += end - start;
    if (this.#heldBytes > REPORT_MOST) {
      this.#held = null;
      return true;
    }
    this.#held.push(
      ends && this.#held.length === 0 ? chunk.subarray(start, end) : Buffer.from(chunk.subarray(start, end)),
    );
    if (!ends) return true;
    const whole = this.#held.length === 1 ? (this.#held[0] as Buffer) : Buffer.concat(this.#held);
    this.#held = null;
    return this.#report(type, whole) === "pass";
  }
}
