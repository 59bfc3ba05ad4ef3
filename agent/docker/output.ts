/** One message of a container's output. */
export type Frame = { stream: "stdout" | "stderr"; bytes: Buffer };

const HEADER = 8;

/** Takes apart the engine's multiplexed stream (8 bytes of header, then the payload), whatever the chunks' borders. */
export class Demultiplexer {
  readonly #chunks: Buffer[] = [];
  #held = 0;
  #needed = HEADER;

  take(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    if (this.#held < this.#needed) return [];
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const frames: Frame[] = [];
    let at = 0;
    this.#needed = HEADER;
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUInt32BE(at + 4);
      this.#needed = HEADER + length;
      if (bytes.length - at < this.#needed) break;
      frames.push({
        stream: bytes[at] === 2 ? "stderr" : "stdout",
        bytes: bytes.subarray(at + HEADER, at + this.#needed),
      });
      at += this.#needed;
      this.#needed = HEADER;
    }
    const rest = Buffer.from(bytes.subarray(at));
    this.#chunks.splice(0, this.#chunks.length, ...(rest.length > 0 ? [rest] : []));
    this.#held = rest.length;
    return frames;
  }
}

/** A line as the engine keeps it: `stamp` is the text of its timestamp. */
export type StampedLine = { stream: "stdout" | "stderr"; stamp: string; message: string };

/** A line without an end is cut into pieces of this many bytes. */
const LONGEST_LINE = 256 * 1024;
const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) /;

/**
 * Makes lines of frames that were asked for with timestamps. An engine keeps long lines in pieces, and puts a timestamp before each piece: the
 * stamps inside a line are taken out, the first one stays. Text is decoded only when the line is whole, so a character that two pieces share is kept.
 */
export class LineAssembler {
  readonly #open = {
    stdout: { stamp: "", parts: [] as Buffer[], size: 0 },
    stderr: { stamp: "", parts: [] as Buffer[], size: 0 },
  };

  take({ stream, bytes }: Frame): StampedLine[] {
    const lines: StampedLine[] = [];
    let at = 0;
    while (at < bytes.length) {
      const newline = bytes.indexOf(10, at);
      const end = newline < 0 ? bytes.length : newline;
      const stamp = STAMP.exec(bytes.subarray(at, Math.min(end, at + 40)).toString("latin1"));
      const open = this.#open[stream];
      if (stamp && open.parts.length === 0) open.stamp = stamp[1] as string;
      const from = at + (stamp ? stamp[0].length : 0);
      // An empty part too marks the line as begun.
      open.parts.push(bytes.subarray(from, end));
      open.size += end - from;
      if (newline >= 0 || open.size >= LONGEST_LINE) lines.push(...this.#close(stream, newline >= 0));
      at = end + 1;
    }
    return lines;
  }

  /** What has no end of line yet, when the stream has ended. */
  flush(): StampedLine[] {
    return [...this.#close("stdout", true), ...this.#close("stderr", true)];
  }

  /** The earliest timestamp of a line that has begun and not ended; null when there is none. */
  get openStamp(): string | null {
    const begun = [this.#open.stdout, this.#open.stderr].filter((it) => it.parts.length > 0);
    return begun.map((it) => it.stamp).sort()[0] ?? null;
  }

  #close(stream: "stdout" | "stderr", whole: boolean): StampedLine[] {
    const open = this.#open[stream];
    if (open.parts.length === 0) return [];
    const bytes = Buffer.concat(open.parts);
    const end = whole ? bytes.length : characterEnd(bytes);
    const line = { stream, stamp: open.stamp, message: bytes.subarray(0, end).toString("utf8") };
    const rest = Buffer.from(bytes.subarray(end));
    this.#open[stream] = { stamp: open.stamp, parts: rest.length > 0 ? [rest] : [], size: rest.length };
    return [line];
  }
}

/** The end of the last whole UTF-8 character. */
function characterEnd(bytes: Buffer): number {
  let start = bytes.length - 1;
  while (start > 0 && bytes.length - start < 4 && ((bytes[start] as number) & 0xc0) === 0x80) start--;
  const lead = bytes[start] as number;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return start + length > bytes.length ? start : bytes.length;
}

/** Collects up to so many bytes and says whether there was more. */
export class BoundedText {
  readonly #most: number;
  readonly #parts: Buffer[] = [];
  #size = 0;
  truncated = false;

  constructor(most: number) {
    this.#most = most;
  }

  add(bytes: Buffer): void {
    const room = this.#most - this.#size;
    if (bytes.length > room) this.truncated = true;
    if (room <= 0) return;
    this.#parts.push(Buffer.from(bytes.subarray(0, room)));
    this.#size += Math.min(room, bytes.length);
  }

  text(): string {
    const bytes = Buffer.concat(this.#parts);
    return bytes.subarray(0, this.truncated ? characterEnd(bytes) : bytes.length).toString("utf8");
  }
}
