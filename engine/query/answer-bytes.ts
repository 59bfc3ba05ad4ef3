import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import { QueryProblem } from "../../query/problem.ts";
import { needsEscape } from "../store/render.ts";

/** Answers are written one behind the other into a piece of memory of this size; a longer one has a piece of its own. Bytes. */
const PIECE = 256 * 1024;
/** Texts of up to this length are copied here: a call of what copies them faster takes longer. */
const BY_CALL = 8;
const MINUS = 45;
const ZERO = 48;

/**
 * The JSON of one answer while it is made. Generated code calls it `A`: it asks for room once for several values, and then writes them to
 * `bytes` itself from `at` on. Bytes rather than a string, as a string of many pieces would be copied piece by piece when it is sent.
 */
export class AnswerBytes {
  bytes: Buffer = Buffer.allocUnsafeSlow(PIECE);
  at = 0;
  #start = 0;
  /** Answers in `bytes` that were taken and are not sent. */
  #waiting = 0;

  /** The bytes, with at least so many more behind `at`. */
  room(more: number): Buffer {
    if (this.at + more > this.bytes.length) this.#grow(more);
    return this.bytes;
  }

  #grow(more: number): void {
    const written = this.at - this.#start;
    if (written > QUERY_LIMITS.answerBytes) throw answerTooLong();
    const next = Buffer.allocUnsafeSlow(Math.max(PIECE, 2 * written + more));
    this.bytes.copy(next, 0, this.#start, this.at);
    this.bytes = next;
    this.#start = 0;
    this.#waiting = 0;
    this.at = written;
  }

  /** For a new answer. A query that failed may have left something. */
  begin(): this {
    if (this.#waiting === 0) {
      if (this.bytes.length > PIECE) this.bytes = Buffer.allocUnsafeSlow(PIECE);
      this.#start = 0;
    }
    this.at = this.#start;
    return this;
  }

  /** What has been written since `begin`. It is not written over until it is `sent`. */
  take(): Buffer {
    const answer = this.bytes.subarray(this.#start, this.at);
    this.#start = this.at;
    this.#waiting++;
    return answer;
  }

  /**
   * Nobody reads this answer any more. Once that is so of all answers in `bytes`, the next one is written over them: into memory that
   * is near. One of which this is never said, as its caller has gone, keeps only its own piece from that.
   */
  sent(answer: Buffer): void {
    if (answer.buffer === this.bytes.buffer) this.#waiting--;
  }
}

export const answerTooLong = (): QueryProblem =>
  new QueryProblem(
    "answer_too_long",
    `an answer has at most ${QUERY_LIMITS.answerBytes} bytes: ask for fewer rows with limit:, or for fewer fields`,
  );

// These write to where there is room, and return the place behind what they wrote.

export function writeNumber(bytes: Buffer, at: number, value: number): number {
  if ((value | 0) !== value) return writeAscii(bytes, at, String(value));
  let left = value;
  let start = at;
  if (left < 0) {
    bytes[start++] = MINUS;
    left = -left;
  }
  const end = start + digitsOf(left);
  for (let place = end; place > start; ) {
    const tenth = (left / 10) | 0;
    bytes[--place] = ZERO + left - tenth * 10;
    left = tenth;
  }
  return end;
}

/** Of up to ten digits. */
function digitsOf(value: number): number {
  if (value < 1e5) return value < 100 ? (value < 10 ? 1 : 2) : value < 1000 ? 3 : value < 1e4 ? 4 : 5;
  return value < 1e7 ? (value < 1e6 ? 6 : 7) : value < 1e8 ? 8 : value < 1e9 ? 9 : 10;
}

/** What `Buffer.write` calls in the end. It is not among what Node documents: where it is not, `write` does. */
type Latin1Write = (this: Buffer, text: string, at: number, length: number) => number;
const latin1Write: Latin1Write =
  (Buffer.prototype as { latin1Write?: Latin1Write }).latin1Write ??
  function (text, at, length) {
    return this.write(text, at, length, "latin1");
  };

/** Any text without characters beyond ASCII; one byte each. */
export function writeAscii(bytes: Buffer, at: number, text: string): number {
  const { length } = text;
  if (length > BY_CALL) return at + latin1Write.call(bytes, text, at, length);
  for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i);
  return at + length;
}

/** JSON that is text already; at most three bytes for each unit of its UTF-16. */
export const writeUtf8 = (bytes: Buffer, at: number, text: string): number => at + bytes.write(text, at, "utf8");

/** What stands between the quotes; at most six bytes for each unit of its UTF-16. */
export const writeText = (bytes: Buffer, at: number, text: string): number =>
  at + bytes.write(needsEscape(text) ? JSON.stringify(text).slice(1, -1) : text, at, "utf8");

/** A number, or JSON without characters beyond ASCII. */
export const writeShort = (bytes: Buffer, at: number, value: number | string): number =>
  typeof value === "number" ? writeNumber(bytes, at, value) : writeAscii(bytes, at, value);
