import { createSocket } from "node:dgram";
import { createServer } from "node:net";

type Protocol = "tcp" | "udp";
export type PortRange = { from: number; to: number };

/** Hands out port numbers, each to one holder until it is given back. */
export class Ports {
  readonly #range: PortRange;
  readonly #held = new Map<number, string>();
  #next: number;

  constructor(range: PortRange) {
    this.#range = range;
    // Agents on one host with the same range seldom try the same ports.
    this.#next = range.from + Math.floor(Math.random() * (range.to - range.from + 1));
  }

  /** Notes a port that was handed out before a restart. */
  hold(port: number, holder: string): void {
    this.#held.set(port, holder);
  }

  /** A port of the range that nobody holds, or listens on with any of these protocols; null when there is none. */
  async take(holder: string, protocols: readonly Protocol[] = ["tcp"]): Promise<number | null> {
    const { from, to } = this.#range;
    for (let tried = from; tried <= to; tried++) {
      const port = this.#next;
      this.#next = port === to ? from : port + 1;
      if (this.#held.has(port)) continue;
      this.#held.set(port, holder);
      if (await isFreeWith(port, protocols)) return port;
      this.#held.delete(port);
    }
    return null;
  }

  /** This very port; false when another holds it or something listens on it. */
  async takeThis(port: number, protocol: Protocol, holder: string): Promise<boolean> {
    const by = this.#held.get(port);
    if (by !== undefined && by !== holder) return false;
    this.#held.set(port, holder);
    if (await isFree(port, protocol)) return true;
    this.#held.delete(port);
    return false;
  }

  release(holder: string): void {
    for (const [port, by] of this.#held) if (by === holder) this.#held.delete(port);
  }
}

async function isFreeWith(port: number, protocols: readonly Protocol[]): Promise<boolean> {
  for (const protocol of protocols) if (!(await isFree(port, protocol))) return false;
  return true;
}

/** Whether a program could listen on this port, on every address. */
async function isFree(port: number, protocol: Protocol): Promise<boolean> {
  if (protocol === "udp") return bindUdp(port);
  return (await listen(port, undefined)) && (await listen(port, "127.0.0.1"));
}

function listen(port: number, host: string | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "EACCES"));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

function bindUdp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "EACCES"));
    socket.bind({ port, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}
