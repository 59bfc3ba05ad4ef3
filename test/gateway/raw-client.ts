// A client made of bytes, for what no driver would do.
import { connect, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { AUTH, int32, type Message, MessageReader, message, parseReport, TYPE } from "../../postgres/wire/message.ts";
import { SCRAM, ScramClient } from "../../postgres/wire/scram.ts";
import { PROTOCOL_3_0, requestPacket, SSL_REQUEST, startupPacket } from "../../postgres/wire/startup.ts";

export class RawClient {
  readonly socket: Socket;
  readonly #reader = new MessageReader(1 << 24);
  #wake: () => void = () => {};
  ended = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#reader.push(chunk);
      this.#wake();
    });
    socket.on("error", () => {});
    for (const event of ["end", "close"])
      socket.on(event, () => {
        this.ended = true;
        this.#wake();
      });
  }

  static plain(port: number): Promise<RawClient> {
    return new Promise((done, fail) => {
      const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }, () => done(new RawClient(socket)));
      socket.once("error", fail);
    });
  }

  /** TLS from the first byte, or, with `asked`, after an SSLRequest. */
  static async tls(port: number, options: ConnectionOptions, asked = false): Promise<RawClient> {
    const socket = connect({ port, host: "127.0.0.1" });
    if (asked) {
      socket.write(requestPacket(SSL_REQUEST));
      await new Promise<void>((done) => {
        socket.once("readable", () => {
          socket.read(1);
          done();
        });
      });
    }
    return new Promise((done, fail) => {
      const secure = connectTls({ socket, rejectUnauthorized: false, ...options }, () => done(new RawClient(secure)));
      secure.once("error", fail);
    });
  }

  send(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  async next(): Promise<Message | null> {
    for (;;) {
      const found = this.#reader.take();
      if (found !== null) return found;
      if (this.ended) return null;
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
  }

  /** The next message of one of these types; those before it are passed over. */
  async until(...types: number[]): Promise<Message> {
    for (;;) {
      const found = await this.next();
      if (found === null) throw new Error("the connection was closed");
      if (types.includes(found.type)) return found;
    }
  }

  /** The fields of the error that ends the connection; null when it ends without one. */
  async error(): Promise<Record<string, string> | null> {
    for (let found = await this.next(); found !== null; found = await this.next())
      if (found.type === TYPE.errorResponse) return parseReport(found.body);
    return null;
  }

  /** Logs in, and answers the key for cancel requests. */
  async logIn(
    keys: { clientKey: Buffer; serverKey: Buffer },
    settings: [string, string][] = [
      ["user", "app"],
      ["database", "app"],
    ],
    protocol = PROTOCOL_3_0,
  ): Promise<{ pid: number; key: Buffer }> {
    const scram = new ScramClient(keys);
    this.send(startupPacket(settings, protocol));
    const sasl = async (kind: number) => {
      const { type, body } = await this.until(TYPE.authentication, TYPE.errorResponse);
      if (type === TYPE.errorResponse) throw new Error(parseReport(body).M);
      if (body.readInt32BE(0) !== kind) throw new Error(`authentication ${body.readInt32BE(0)} in place of ${kind}`);
      return body.toString("latin1", 4);
    };
    await sasl(AUTH.sasl);
    this.send(message(TYPE.password, `${SCRAM}\0`, int32(scram.first.length), scram.first));
    this.send(message(TYPE.password, scram.final(await sasl(AUTH.saslContinue))));
    if (!scram.verify(await sasl(AUTH.saslFinal))) throw new Error("the server does not know the verifier");
    await sasl(AUTH.ok);
    const { body } = await this.until(TYPE.backendKeyData);
    await this.until(TYPE.readyForQuery);
    return { pid: body.readUInt32BE(0), key: body.subarray(4) };
  }

  query(sql: string): void {
    this.send(message(TYPE.query, `${sql}\0`));
  }
}
