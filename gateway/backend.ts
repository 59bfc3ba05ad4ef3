import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Endpoint } from "../contract/gateway.ts";
import { AUTH, int32, type Message, MessageReader, message, parseReport, TYPE } from "../postgres/wire/message.ts";
import { SCRAM, ScramClient } from "../postgres/wire/scram.ts";
import { cancelPacket, requestPacket, SSL_REQUEST, StartupReader, startupPacket } from "../postgres/wire/startup.ts";
import { Gone, Inbox } from "./inbox.ts";
import { Refusal, refusal } from "./refusal.ts";

const CONNECT_MS = 5_000;
const LOGIN_MS = 15_000;
const CANCEL_MS = 10_000;
const KEEPALIVE_MS = 60_000;
/** No message of a login is longer. */
const LOGIN_MESSAGE_MOST = 64 * 1024;

/** PostgreSQL is not there, or not yet, or no longer: the endpoint may be an old one. */
export class Unreachable extends Error {}

/** PostgreSQL refuses the credentials. */
export class CredentialsRefused extends Error {}

export type BackendLogin = {
  endpoint: Endpoint;
  role: string;
  database: string;
  settings: readonly [string, string][];
  clientKey: Buffer;
  serverKey: Buffer;
};

export type Backend = {
  socket: Socket;
  pid: number;
  key: Buffer;
  /** What the client is to see of the login: parameters and notices. */
  greeting: Buffer[];
  rest: Buffer;
};

/** Logs in to PostgreSQL with the ClientKey of the client. PostgreSQL, too, has to prove that it knows the verifier. */
export async function logIn(login: BackendLogin, signal: AbortSignal): Promise<Backend> {
  const socket = await open(login.endpoint, signal);
  const abort = () => socket.destroy();
  signal.addEventListener("abort", abort);
  const timer = setTimeout(abort, LOGIN_MS);
  const inbox = new Inbox(socket, new MessageReader(LOGIN_MESSAGE_MOST));
  try {
    socket.write(
      startupPacket([["user", latin1(login.role)], ["database", latin1(login.database)], ...login.settings]),
    );
    await authenticate(socket, inbox, login);
    const greeted = await greet(inbox);
    return { socket, ...greeted, rest: inbox.release() };
  } catch (error) {
    socket.destroy();
    if (signal.aborted) throw signal.reason;
    if (error instanceof Gone) throw new Unreachable("PostgreSQL closed the connection during the login");
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** Asks PostgreSQL to cancel what this backend does. Resolves when PostgreSQL has taken note; never rejects. */
export async function cancelBackend(endpoint: Endpoint, pid: number, key: Uint8Array): Promise<void> {
  const socket = await open(endpoint, AbortSignal.timeout(CANCEL_MS)).catch(() => null);
  if (socket === null) return;
  await new Promise<void>((done) => {
    socket.setTimeout(CANCEL_MS, () => socket.destroy());
    socket.on("error", () => {});
    socket.on("close", () => done());
    socket.on("end", () => socket.destroy());
    socket.resume();
    socket.write(cancelPacket(pid, key));
  });
}

async function open({ host, port, tls }: Endpoint, signal: AbortSignal): Promise<Socket> {
  const socket = connectTcp({
    host,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
    allowHalfOpen: true,
  });
  await settled(socket, "connect", signal);
  if (tls === null) return socket;
  const inbox = new Inbox(socket, new StartupReader());
  socket.write(requestPacket(SSL_REQUEST));
  const answer = await inbox.until((reader) => reader.first ?? null).catch(() => null);
  if (answer !== 0x53 || inbox.release().length !== 1) {
    socket.destroy();
    throw new Unreachable("PostgreSQL does not speak TLS");
  }
  // Exactly this certificate, whatever name it is for.
  const secure = connectTls({
    socket,
    ca: tls.certificate,
    ALPNProtocols: ["postgresql"],
    checkServerIdentity: () => undefined,
  });
  await settled(secure, "secureConnect", signal);
  return secure;
}

function settled(socket: Socket, event: "connect" | "secureConnect", signal: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    const end = (error?: Error) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      socket.off("error", end);
      if (error === undefined) return done();
      socket.on("error", () => {});
      socket.destroy();
      fail(signal.aborted ? signal.reason : new Unreachable(error.message));
    };
    const abort = () => end(new Error("given up"));
    const timer = setTimeout(() => end(new Error(`no connection after ${CONNECT_MS / 1000} s`)), CONNECT_MS);
    signal.addEventListener("abort", abort);
    socket.once("error", end);
    socket.once(event, () => end());
    if (signal.aborted) abort();
  });
}

async function authenticate(socket: Socket, inbox: Inbox<MessageReader>, login: BackendLogin): Promise<void> {
  const scram = new ScramClient(login);
  const offered = await authenticationOf(inbox, AUTH.sasl);
  if (!offered.toString("latin1").split("\0").includes(SCRAM)) throw refusal("backend_protocol");
  const first = Buffer.from(scram.first, "latin1");
  socket.write(message(TYPE.password, `${SCRAM}\0`, int32(first.length), first));
  const serverFirst = await authenticationOf(inbox, AUTH.saslContinue);
  socket.write(message(TYPE.password, scram.final(serverFirst.toString("latin1"))));
  const serverFinal = await authenticationOf(inbox, AUTH.saslFinal);
  if (!scram.verify(serverFinal.toString("latin1"))) throw refusal("backend_protocol");
  await authenticationOf(inbox, AUTH.ok);
}

async function authenticationOf(inbox: Inbox<MessageReader>, kind: number): Promise<Buffer> {
  for (;;) {
    const { type, body } = await inbox.until((reader) => reader.take());
    if (type === TYPE.noticeResponse || type === TYPE.negotiateProtocolVersion) continue;
    if (type === TYPE.errorResponse) throw loginRefused(body, kind !== AUTH.sasl);
    // In particular no login without a proof: who answers so may be anybody.
    if (type !== TYPE.authentication || body.length < 4 || body.readInt32BE(0) !== kind)
      throw refusal("backend_protocol");
    return body.subarray(4);
  }
}

async function greet(inbox: Inbox<MessageReader>): Promise<{ pid: number; key: Buffer; greeting: Buffer[] }> {
  const greeting: Buffer[] = [];
  let pid = 0;
  let key: Buffer = Buffer.alloc(0);
  for (;;) {
    const { type, body }: Message = await inbox.until((reader) => reader.take());
    if (type === TYPE.readyForQuery) return { pid, key, greeting };
    if (type === TYPE.errorResponse) throw loginRefused(body, false);
    if (type === TYPE.backendKeyData) {
      pid = body.readUInt32BE(0);
      key = Buffer.from(body.subarray(4));
    } else greeting.push(message(type, body));
  }
}

/** What PostgreSQL answered in place of a session. */
function loginRefused(body: Buffer, inExchange: boolean): Error {
  const { C: code = "", M: text = "", D: detail, H: hint } = parseReport(body);
  // Starting up, in recovery, shutting down.
  if (code === "57P03" || code === "57P01" || code === "57P02") return new Unreachable(text);
  if (code === "28P01" || (inExchange && code === "28000")) return new CredentialsRefused(text);
  return new Refusal("postgres", {
    severity: "FATAL",
    code,
    message: text,
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  });
}

const latin1 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
