import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import { QueryProblem } from "../../query/problem.ts";
import { needsEscape } from "../store/render.ts";

/** Answers are written one behind the other into a piece of memory of this size; a longer one has a piece of its own. Bytes. */
const PIECE = 256 * 1024;
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

  /** The bytes, with at least so many more behind `at`. */
  room(more: number): Buffer {
    if (this.at + more > this.bytes.length) this.#grow(more);
    return this.bytes;
  }

  #grow(more: number): void {
    const written = this.at - this.#start;
    if (written > QUERY_LIMITS.answerBytes)
      throw new QueryProblem(
        "answer_too_long",
        `an answer has at most ${QUERY_LIMITS.answerBytes} bytes: ask for fewer rows with limit:, or for fewer fields`,
      );
    const next = Buffer.allocUnsafeSlow(Math.max(PIECE, 2 * written + more));
    this.bytes.copy(next, 0, this.#start, this.at);
    this.bytes = next;
    this.#start = 0;
    this.at = written;
  }

  /** For a new answer. A query that failed may have left something. */
  begin(): this {
    this.at = this.#start;
    return this;
  }

  /** What has been written since `begin`. It is never written over. */
  take(): Buffer {
    const answer = this.bytes.subarray(this.#start, this.at);
    this.#start = this.at;
    return answer;
  }
}

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

/** Any text without characters beyond ASCII; one byte each. */
export const writeAscii = (bytes: Buffer, at: number, text: string): number => at + bytes.write(text, at, "latin1");

/** JSON that is text already; at most three bytes for each unit of its UTF-16. */
export const writeUtf8 = (bytes: Buffer, at: number, text: string): number => at + bytes.write(text, at, "utf8");

/** What stands between the quotes; at most six bytes for each unit of its UTF-16. */
export const writeText = (bytes: Buffer, at: number, text: string): number =>
  at + bytes.write(needsEscape(text) ? JSON.stringify(text).slice(1, -1) : text, at, "utf8");

/** A number, or JSON without characters beyond ASCII. */
export const writeShort = (bytes: Buffer, at: number, value: number | string): number =>
  typeof value === "number" ? writeNumber(bytes, at, value) : writeAscii(bytes, at, value);
