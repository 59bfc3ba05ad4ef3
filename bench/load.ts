// Sends HTTP requests over kept connections, one at a time on each, and tells how long each took. It runs as a program of its own, so
// that its work is not done by the process that has other things to do:
//   echo '{"port":8787,"connections":8,"most":1000,"ms":2000,"requests":["GET / HTTP/1.1\r\n…"]}' | node bench/load.ts
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { text } from "node:stream/consumers";

/** Bytes that are read at once. */
const READ = 64 * 1024;
const BLANK_LINE = "\r\n\r\n";

export type Load = {
  port: number;
  connections: number;
  /** It ends after so many requests or after so long, whichever comes first. */
  most: number;
  ms: number;
  /** Whole requests, taken in turn. */
  requests: string[];
};

export type Loaded = { ms: number; latencies: number[]; refused: number };

export function httpText(method: string, path: string, port: number, token: string, body?: unknown): string {
  const json = body === undefined ? "" : JSON.stringify(body);
  const head = [`${method} ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, `Authorization: Bearer ${token}`];
  if (body !== undefined) head.push("Content-Type: application/json", `Content-Length: ${Buffer.byteLength(json)}`);
  return `${head.join("\r\n")}\r\n\r\n${json}`;
}

export async function load(asked: Load): Promise<Loaded> {
  const child = spawn(process.execPath, [import.meta.filename], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify(asked));
  const answer = await text(child.stdout);
  if (answer === "") throw new Error("the load generator failed");
  return JSON.parse(answer) as Loaded;
}

async function generate({ port, connections, most, ms, requests }: Load): Promise<Loaded> {
  const latencies: number[] = [];
  let begun = 0;
  let refused = 0;
  const bytes = requests.map((request) => Buffer.from(request));
  const started = performance.now();
  const one = () =>
    new Promise<void>((done, fail) => {
      const answer = new Reading();
      const buffer = Buffer.allocUnsafeSlow(READ);
      let from = 0;
      // What is read is looked at and forgotten: one piece of memory will do.
      const callback = (length: number) => {
        if (answer.take(buffer, length)) {
          latencies.push(performance.now() - from);
          if (answer.status >= 300) refused++;
          send();
        }
        return true;
      };
      const onread = { buffer, callback };
      const socket = connect({ port, host: "127.0.0.1", noDelay: true, onread });
      const send = () => {
        if (begun >= most || performance.now() - started >= ms) return void socket.end(done);
        from = performance.now();
        socket.write(bytes[begun++ % bytes.length] as Buffer);
      };
      socket.on("connect", send);
      socket.on("error", fail);
      socket.on("close", () => fail(new Error("the server closed the connection")));
    });
  await Promise.all(Array.from({ length: connections }, one));
  return { ms: performance.now() - started, latencies, refused };
}

/** As much of HTTP/1.1 as it takes to see where an answer ends, when none is asked for before the last one came. */
class Reading {
  status = 0;
  #head = "";
  /** Bytes of the body still to come; null while the head is read, -1 for a chunked body. */
  #left: number | null = null;
  #tail = "";

  /** Takes the first `length` bytes of a piece; true when the answer is complete. */
  take(piece: Buffer, length: number): boolean {
    let at = 0;
    if (this.#left === null) {
      at = this.#headEnd(piece, length);
      if (at < 0) return false;
      this.status = Number(this.#head.slice(9, 12));
      this.#left = /\r\ntransfer-encoding: *chunked/i.test(this.#head)
        ? -1
        : Number(/\r\ncontent-length: *(\d+)/i.exec(this.#head)?.[1] ?? 0);
    }
    if (this.#left >= 0) {
      this.#left -= length - at;
      return this.#left === 0 && this.#reset();
    }
    this.#tail = (this.#tail + piece.toString("latin1", Math.max(at, length - 5), length)).slice(-5);
    return this.#tail === "0\r\n\r\n" && this.#reset();
  }

  /** Puts what the piece has of the head to `#head`: where the body begins in the piece; -1 when the head goes on. */
  #headEnd(piece: Buffer, length: number): number {
    const end = this.#head === "" ? piece.indexOf(BLANK_LINE) : -1;
    if (end >= 0 && end + BLANK_LINE.length <= length) {
      this.#head = piece.toString("latin1", 0, end);
      return end + BLANK_LINE.length;
    }
    const before = this.#head.length;
    this.#head += piece.toString("latin1", 0, length);
    const place = this.#head.indexOf(BLANK_LINE);
    if (place < 0) return -1;
    this.#head = this.#head.slice(0, place);
    return place + BLANK_LINE.length - before;
  }

  #reset(): true {
    this.#head = "";
    this.#left = null;
    this.#tail = "";
    return true;
  }
}

if (import.meta.main) {
  const asked = JSON.parse(await text(process.stdin)) as Load;
  process.stdout.write(JSON.stringify(await generate(asked)));
}
