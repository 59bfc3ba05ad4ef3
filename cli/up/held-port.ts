import { spawn } from "node:child_process";
import { lookup } from "node:dns/promises";
import * as net from "node:net";
import { Failure } from "../failure.ts";

/**
 * A port that is ours for as long as we live. Children listen on it, one after the other; who connects while there is none waits for the next, and no
 * other program can take it meanwhile.
 */
export class HeldPort {
  readonly port: number;
  #socket: net.BoundSocket | null;

  constructor(socket: net.BoundSocket | null, port: number) {
    this.#socket = socket;
    this.port = port;
  }

  /** For the next child; null where it has to listen by itself. */
  get fd(): number | null {
    return this.#socket?.fd() ?? null;
  }

  /** A child that listens goes on. */
  close(): void {
    this.#socket?.close();
    this.#socket = null;
  }
}

/** The preferred port, or any when that is taken. */
export async function holdPort(host: string, preferred: number): Promise<HeldPort> {
  const held = (await listenOn(host, preferred)) ?? (await listenOn(host, 0));
  if (held === null) throw new Failure(`no port of ${host} can be listened on`, { hint: "Look at --host." });
  return held;
}

async function listenOn(host: string, port: number): Promise<HeldPort | null> {
  // Node before 26 has no sockets that are bound and not accepted from.
  if (net.BoundSocket === undefined) return portIfFree(host, port);
  let socket: net.BoundSocket;
  try {
    const { address } = await lookup(host);
    socket = new net.BoundSocket({ host: address, port });
  } catch {
    return null;
  }
  const address = socket.address();
  if (await listens(socket.fd())) return new HeldPort(socket, typeof address === "string" ? port : address.port);
  socket.close();
  return null;
}

/**
 * Others could still bind and listen on what is only bound. That it listens is the socket's, not the process's: so one that ends at once can see to it,
 * where here Node would accept the connections too.
 */
function listens(fd: number): Promise<boolean> {
  const script = 'require("node:net").createServer().listen({ fd: 3 }, () => process.exit())';
  const child = spawn(process.execPath, ["--eval", script], { stdio: ["ignore", "ignore", "ignore", fd] });
  return new Promise((done) => {
    child.on("error", () => done(false));
    child.on("exit", (code) => done(code === 0));
  });
}

function portIfFree(host: string, port: number): Promise<HeldPort | null> {
  return new Promise((done) => {
    const server = net.createServer();
    server.once("error", () => done(null));
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      const taken = typeof address === "object" && address !== null ? address.port : port;
      server.close(() => done(new HeldPort(null, taken)));
    });
  });
}
