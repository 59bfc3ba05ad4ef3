import { rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { type FromProxy, ToProxy } from "./message.ts";

/** Where the agent speaks to its proxy. The folder lets nobody else in; the newest connection is the agent's, as an older one may have died unseen. */
export class Control {
  readonly #heard: (message: ToProxy) => Promise<void>;
  readonly #left: () => void;
  #server: Server | null = null;
  #agent: Socket | null = null;
  #greeting: FromProxy | null = null;

  /** @param left the agent has gone, for now or for good */
  constructor(heard: (message: ToProxy) => Promise<void>, left: () => void) {
    this.#heard = heard;
    this.#left = left;
  }

  /** Throws when another proxy answers there. */
  async listen(path: string): Promise<void> {
    if (await answers(path)) throw new Error(`a proxy runs already at ${path}`);
    await rm(path, { force: true });
    const server = createServer((socket) => this.#take(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
  }

  /** Says to whoever connects, and to whoever is connected, that it works. */
  greet(): void {
    this.#greeting = { kind: "hello" };
    this.send(this.#greeting);
  }

  send(message: FromProxy): void {
    if (this.#agent?.writable) this.#agent.write(`${JSON.stringify(message)}\n`);
  }

  close(): void {
    this.#server?.close();
    this.#agent?.destroy();
  }

  #take(socket: Socket): void {
    this.#agent?.destroy();
    this.#agent = socket;
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (this.#agent !== socket) return;
      this.#agent = null;
      this.#left();
    });
    const lines = createInterface({ input: socket });
    // It is the socket's, and said there too.
    lines.on("error", () => undefined);
    lines.on("line", (line) => {
      const message = ToProxy.parse(JSON.parse(line));
      void this.#heard(message).then(() => {
        if ("seq" in message && socket.writable)
          socket.write(`${JSON.stringify({ kind: "done", seq: message.seq } satisfies FromProxy)}\n`);
      });
    });
    if (this.#greeting) this.send(this.#greeting);
  }
}

/** Whether somebody listens there; a socket that was left behind answers nothing. */
export const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
