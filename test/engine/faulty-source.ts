// Stands between an engine and its real source, and spoils the rows that are loaded: whatever else is asked passes as it is.

import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import type { Dialect } from "./shop.ts";

/** What becomes of the first loaded row with this text in it: it is lost, or has another text of the same length. */
export type Fault = { row: string; becomes: string | null };

type Framing = { header: number; length(frame: Buffer): number };
/** Types before lengths, lengths with themselves; lengths before sequence numbers. */
const FRAMING: Record<Dialect, Framing> = {
  postgres: { header: 5, length: (at) => 1 + at.readUInt32BE(1) },
  mysql: { header: 4, length: (at) => 4 + at.readUIntLE(0, 3) },
};

export class FaultySource {
  fault: Fault | null = null;
  /** How many rows were spoiled. */
  spoiled = 0;
  readonly #dialect: Dialect;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#join(socket));
  readonly #target: { host: string; port: number };

  static async start(dialect: Dialect, target: { host: string; port: number }): Promise<FaultySource> {
    const faulty = new FaultySource(dialect, target);
    await new Promise<void>((resolve) => faulty.#server.listen(0, "127.0.0.1", resolve));
    return faulty;
  }

  private constructor(dialect: Dialect, target: { host: string; port: number }) {
    this.#dialect = dialect;
    this.#target = target;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket): void {
    const { host, port } = this.#target;
    const server = connect({ host, port });
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        server.destroy();
        this.#sockets.delete(socket);
      });
    }
    // One question after the other: what comes is the answer to the last.
    let isLoading = false;
    let lost = 0;
    client.on("data", (chunk: Buffer) => {
      isLoading = isLoad(chunk.toString("latin1"));
      lost = 0;
      server.write(chunk);
    });
    const { header, length } = FRAMING[this.#dialect];
    let rest = Buffer.alloc(0);
    server.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        const size = rest.length < header ? Infinity : length(rest);
        if (rest.length < size) return;
        const frame = Buffer.from(rest.subarray(0, size));
        rest = rest.subarray(size);
        if (isLoading && this.#isHit(frame)) {
          this.spoiled++;
          if (this.fault?.becomes == null) {
            lost++;
            this.fault = null;
            continue;
          }
          frame.write(this.fault.becomes, frame.indexOf(this.fault.row), "latin1");
          this.fault = null;
        }
        if (this.#dialect === "mysql" && lost > 0) frame.writeUInt8((frame.readUInt8(3) - lost) & 0xff, 3);
        client.write(frame);
      }
    });
  }

  #isHit(frame: Buffer): boolean {
    return this.fault !== null && frame.includes(this.fault.row, 0, "latin1");
  }
}

/** Of both protocols a question begins with five bytes of its own. */
const isLoad = (question: string): boolean =>
  /^(COPY \()?SELECT (?!.* LIMIT ).* FROM .*(users|posts)/s.test(question.slice(5));
