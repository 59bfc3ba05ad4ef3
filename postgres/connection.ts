import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  dataRow,
  errorFields,
  type Message,
  MessageReader,
  message,
  rowDescription,
  ServerError,
  SSL_REQUEST,
  startupMessage,
} from "./message.ts";
import { ScramClient } from "./scram-client.ts";

export type ConnectionOptions = {
  /** A host name or address; a path that begins with "/" is the folder of a Unix socket. */
  host: string;
  port: number;
  user: string;
  /** Needed only where the server asks for it. */
  password?: string | undefined;
  database?: string | undefined;
  /** `physical`: the replication commands can be given, and SQL cannot. */
  replication?: "physical" | undefined;
  applicationName?: string | undefined;
  /** Other parameters of the session. */
  parameters?: Record<string, string> | undefined;
  /** PEM: encrypted, and only with who has exactly this one. Null: not encrypted. */
  certificate?: string | null | undefined;
  /** For TCP, TLS and login together. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
};

export type Row = Record<string, string | null>;

const TIMEOUT_MS = 10_000;
/** What may wait to be taken before the server is made to wait. */
const MOST_WAITING_BYTES = 8 * 1024 * 1024;

/**
 * One connection to a PostgreSQL server: login with SCRAM-SHA-256, simple queries, and COPY in the modes that replication needs. One user at
 * a time; it does not pool, reconnect or pipeline.
 */
export class Connection {
  /** What the server has told of itself: server_version, in_hot_standby, … */
  readonly parameters = new Map<string, string>();
  /** Fulfilled when the connection is over, with the reason if there was one. */
  readonly closed: Promise<Error | null>;
  processId = 0;
  #socket: Socket;
  #reader = new MessageReader();
  #messages: Message[] = [];
  #waiting = 0;
  #wake: () => void = () => {};
  #end: Error | null = null;
  #isOver = false;
  #settleClosed: (reason: Error | null) => void;

  static async open(options: ConnectionOptions): Promise<Connection> {
    const { timeoutMs = TIMEOUT_MS, signal } = options;
    signal?.throwIfAborted();
    const socket = await dial(options);
    const connection = new Connection(socket);
    const stop = () => connection.destroy(new Error("given up"));
    const timer = setTimeout(() => connection.destroy(new Error(`no login within ${timeoutMs} ms`)), timeoutMs);
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    try {
      await connection.#logIn(options);
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  }

  private constructor(socket: Socket) {
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.closed = promise;
    this.#settleClosed = resolve;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (error) => this.#over(error));
    socket.on("close", () => this.#over(null));
  }

  /** Runs statements, and answers the rows of the last one that has any. Values are as the server prints them. */
  async query(sql: string): Promise<Row[]> {
    this.write(message("Q", sql));
    let rows: Row[] = [];
    let names: string[] = [];
    let failure: ServerError | null = null;
    for (;;) {
      const { type, body } = await this.next();
      if (type === "T") {
        names = rowDescription(body);
        rows = [];
      } else if (type === "D") rows.push(Object.fromEntries(dataRow(body).map((value, i) => [names[i], value])));
      else if (type === "E") failure ??= new ServerError(errorFields(body));
      else if (type === "W" || type === "G") throw new Error("this statement is not for query()");
      else if (type === "Z") break;
    }
    if (failure) throw failure;
    return rows;
  }

  /** Gives a command of which the answer is read with `receive` or `next`. */
  send(sql: string): void {
    this.write(message("Q", sql));
  }

  /** All messages that have come, once there is one. Throws when the connection is over. */
  async receive(): Promise<Message[]> {
    while (this.#messages.length === 0) {
      if (this.#isOver) throw this.#end ?? new Error("the server closed the connection");
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const messages = this.#messages;
    this.#messages = [];
    this.#waiting = 0;
    this.#socket.resume();
    return messages;
  }

  /** One message. Notices are left out, and changes of parameters noted. */
  async next(): Promise<Message> {
    for (;;) {
      const [first, ...rest] = this.#messages.length > 0 ? this.#messages : await this.receive();
      this.#messages = rest;
      if (first === undefined || this.#isAside(first)) continue;
      return first;
    }
  }

  write(data: Buffer): void {
    this.#socket.write(data);
  }

  /** Says goodbye, and lets what was written go out. */
  end(): void {
    if (!this.#isOver) this.#socket.end(message("X"));
  }

  /** At once; what was written may not go out. */
  destroy(reason: Error | null = null): void {
    this.#over(reason);
    this.#socket.destroy();
  }

  async #logIn(options: ConnectionOptions): Promise<void> {
    const { user, database = user, replication, applicationName, parameters = {} } = options;
    this.write(
      startupMessage({
        user,
        database,
        client_encoding: "UTF8",
        ...(replication ? { replication: "true" } : {}),
        ...(applicationName === undefined ? {} : { application_name: applicationName }),
        ...parameters,
      }),
    );
    let scram: ScramClient | null = null;
    for (;;) {
      const { type, body } = await this.next();
      if (type === "E") throw new ServerError(errorFields(body));
      if (type === "Z") return;
      if (type === "K") this.processId = body.readInt32BE(0);
      if (type !== "R") continue;
      const method = body.readUInt32BE(0);
      const rest = body.subarray(4);
      if (method === 0) continue;
      if (method === 10) {
        if (!rest.toString("utf8").split("\0").includes("SCRAM-SHA-256"))
          throw new Error("the server offers no login method that is known here");
        scram = new ScramClient(passwordOf(options));
        const first = Buffer.from(scram.first());
        const length = Buffer.alloc(4);
        length.writeInt32BE(first.length);
        this.write(message("p", "SCRAM-SHA-256", Buffer.concat([length, first])));
      } else if (method === 11 && scram)
        this.write(message("p", Buffer.from(await scram.final(rest.toString("utf8")))));
      else if (method === 12 && scram) scram.verify(rest.toString("utf8"));
      else
        throw new Error("the server asks for a login method that is too weak: only SCRAM-SHA-256 is given an answer");
    }
  }

  #take(chunk: Buffer): void {
    try {
      const messages = this.#reader.push(chunk);
      if (messages.length === 0) return;
      this.#messages = this.#messages.length === 0 ? messages : this.#messages.concat(messages);
      this.#waiting += chunk.length;
      if (this.#waiting > MOST_WAITING_BYTES) this.#socket.pause();
      this.#wake();
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #isAside({ type, body }: Message): boolean {
    if (type === "S") {
      const [name = "", value = ""] = body.toString("utf8").split("\0");
      this.parameters.set(name, value);
    }
    return type === "S" || type === "N" || type === "A";
  }

  #over(reason: Error | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#end = reason;
    this.#settleClosed(reason);
    this.#wake();
  }
}

async function dial({
  host,
  port,
  certificate = null,
  timeoutMs = TIMEOUT_MS,
  signal,
}: ConnectionOptions): Promise<Socket> {
  const socket = host.startsWith("/") ? connectTcp(`${host}/.s.PGSQL.${port}`) : connectTcp(port, host);
  await settled(socket, "connect", timeoutMs, signal);
  if (certificate === null) return socket;
  socket.write(SSL_REQUEST);
  const answer = await settled<Buffer>(socket, "data", timeoutMs, signal);
  // More than the one byte would have been sent in the clear by someone in between.
  if (answer.length !== 1 || answer[0] !== 0x53) {
    socket.destroy();
    throw new Error("the server offers no TLS");
  }
  const secure = connectTls({
    ...{ socket, ca: certificate, ALPNProtocols: ["postgresql"] },
    // Whatever name it is for.
    checkServerIdentity: () => undefined,
  });
  await settled(secure, "secureConnect", timeoutMs, signal);
  return secure;
}

/** Waits for an event of the socket, and gives the socket up when that does not come. A server that stands still is connected to all the same. */
function settled<T = void>(
  socket: Socket,
  event: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const clear = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.off(event, onEvent).off("error", fail).off("close", onClose);
    };
    const fail = (error: Error) => {
      clear();
      socket.on("error", () => {}).destroy();
      reject(error);
    };
    const onEvent = (value: T) => {
      clear();
      resolve(value);
    };
    const onAbort = () => fail(new Error("given up"));
    const onClose = () => fail(new Error("the server closed the connection"));
    const timer = setTimeout(() => fail(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs);
    signal?.addEventListener("abort", onAbort);
    socket.once(event, onEvent).once("error", fail).once("close", onClose);
    if (signal?.aborted) onAbort();
  });
}

function passwordOf({ password }: ConnectionOptions): string {
  if (password === undefined) throw new Error("the server asks for a password, and there is none");
  return password;
}
