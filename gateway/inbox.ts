import type { Duplex } from "node:stream";

/** The other side has closed the connection, or it broke. */
export class Gone extends Error {
  constructor() {
    super("the connection is closed");
  }
}

/** So much is taken from a peer that should be waiting for us; it waits with the rest. */
const HELD_MOST = 64 * 1024;

/** Something that takes bytes as they come, and knows how many it holds. */
type Reader = { push(chunk: Buffer): void; readonly rest: Buffer };

/** Reads from a stream step by step, for the phases before bytes are passed through. */
export class Inbox<R extends Reader> {
  readonly reader: R;
  readonly #stream: Duplex;
  readonly #ended = new AbortController();
  #wake: (() => void) | null = null;
  #over = false;

  constructor(stream: Duplex, reader: R) {
    this.#stream = stream;
    this.reader = reader;
    stream.on("data", this.#onData);
    stream.on("end", this.#onEnd);
    stream.on("error", this.#onEnd);
    stream.on("close", this.#onEnd);
  }

  /** Aborted with `Gone` when the peer has gone. */
  get gone(): AbortSignal {
    return this.#ended.signal;
  }

  /** Waits until `take` finds something. Throws `Gone` when the peer goes first, and whatever `take` throws. */
  async until<T>(take: (reader: R) => T | null): Promise<T> {
    for (;;) {
      const found = take(this.reader);
      if (found !== null) return found;
      if (this.#over) throw new Gone();
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
  }

  /** Ends reading here, and answers what was read and not used. The stream is paused. */
  release(): Buffer {
    this.#stream.pause();
    this.#stream.off("data", this.#onData);
    this.#stream.off("end", this.#onEnd);
    this.#stream.off("error", this.#onEnd);
    this.#stream.off("close", this.#onEnd);
    return this.reader.rest;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.reader.push(chunk);
    if (this.reader.rest.length > HELD_MOST) this.#stream.pause();
    this.#notify();
  };

  readonly #onEnd = (): void => {
    if (this.#over) return;
    this.#over = true;
    this.#ended.abort(new Gone());
    this.#notify();
  };

  #notify(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}
