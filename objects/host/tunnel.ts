import { CLOCK_TOLERANCE_MS, open, seal, toBase64Url } from "../../contract/envelope.ts";
import {
  type AgentBody,
  AgentFrame,
  Connect,
  type ControlBody,
  HEARTBEAT_PING,
  HEARTBEAT_PONG,
} from "../../contract/frame.ts";
import { PROBLEMS, type ProblemCode, problemBody } from "../../contract/problem.ts";

/** What a connection remembers of itself while the object sleeps. `live` once the agent has said hello on it. */
type Attachment = { session: string; boot_id: string; received: number; sent: number; live: boolean; last: number };

export type Keys = { sign: CryptoKey; verify: CryptoKey };

type Owner = {
  keys: () => Promise<Keys>;
  hostId: () => string;
  /** Takes one verified frame, and answers what to send back. */
  receive: (body: AgentBody) => Iterable<ControlBody>;
  opened: (body: ControlBody) => Promise<ControlBody>;
  /** The live connection of this boot is gone. */
  closed: (bootId: string) => void;
};

/**
 * The agent's own WebSocket, accepted with hibernation: nothing is kept in memory that a frame needs. A frame that does not verify, does not
 * parse, or is not the next one, ends the connection; the agent dials again and everything is restated.
 */
export class Tunnel {
  readonly #ctx: DurableObjectState;
  readonly #owner: Owner;
  /** Signing and verifying are asynchronous; frames are handled, and sent, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(ctx: DurableObjectState, owner: Owner) {
    this.#ctx = ctx;
    this.#owner = owner;
  }

  /** Answers the upgrade request of an agent that proves who it is. */
  async open(request: Request): Promise<Response> {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket")
      return refusal("malformed_query", "This address is for a WebSocket upgrade.");
    const { verify } = await this.#owner.keys();
    const connect = Connect.safeParse(
      await open(verify, decodeHeader(request.headers.get("Lamplighter-Connect") ?? "")),
    );
    if (!connect.success || connect.data.host_id !== this.#owner.hostId())
      return refusal("unauthenticated", "Lamplighter-Connect is not signed by this host's key.");
    const skew = Math.abs(Date.now() - connect.data.at);
    if (skew > CLOCK_TOLERANCE_MS)
      return refusal(
        "unauthenticated",
        `The host's clock is off by ${Math.round(skew / 1000)} s; ${CLOCK_TOLERANCE_MS / 1000} s are tolerated.`,
      );
    const { 0: client, 1: server } = new WebSocketPair();
    this.#ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(HEARTBEAT_PING, HEARTBEAT_PONG));
    this.#ctx.acceptWebSocket(server);
    const session = toBase64Url(crypto.getRandomValues(new Uint8Array(16)));
    write(server, { session, boot_id: connect.data.boot_id, received: 0, sent: 0, live: false, last: Date.now() });
    await this.#queue(() => this.#send(server, [{ kind: "challenge", answers: connect.data.nonce }]));
    return new Response(null, { status: 101, webSocket: client });
  }

  message(socket: WebSocket, text: string | ArrayBuffer): Promise<void> {
    return this.#queue(async () => {
      const body = typeof text === "string" ? await this.#verified(socket, text) : null;
      if (body === null) return socket.close(1008, "frame refused");
      if (body.kind === "hello") this.#goLive(socket);
      else if (!read(socket).live) return socket.close(1008, "hello first");
      await this.#send(socket, this.#owner.receive(body));
    });
  }

  closed(socket: WebSocket): void {
    const { live, boot_id } = read(socket);
    const others = this.#ctx.getWebSockets().some((other) => other !== socket && isOpen(other) && read(other).live);
    if (live && !others) this.#owner.closed(boot_id);
  }

  /** Sends to the live connection; false when there is none. */
  send(bodies: () => Iterable<ControlBody>): Promise<boolean> {
    return this.#queue(async () => {
      const socket = this.#live();
      if (socket) await this.#send(socket, bodies());
      return socket !== undefined;
    });
  }

  /** When the live connection last showed life: a frame or a ping; 0 without one. */
  lastSeen(): number {
    const socket = this.#live();
    if (!socket) return 0;
    return Math.max(read(socket).last, this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0);
  }

  closeAll(code: number, reason: string): void {
    for (const socket of this.#ctx.getWebSockets()) socket.close(code, reason);
  }

  #live(): WebSocket | undefined {
    return this.#ctx.getWebSockets().find((socket) => isOpen(socket) && read(socket).live);
  }

  /** The newest connection that said hello is the one; older ones are of the past. */
  #goLive(socket: WebSocket): void {
    for (const other of this.#ctx.getWebSockets()) {
      if (other !== socket && read(other).live) {
        write(other, { ...read(other), live: false });
        other.close(1000, "replaced by a newer connection");
      }
    }
    write(socket, { ...read(socket), live: true });
  }

  async #verified(socket: WebSocket, text: string): Promise<AgentBody | null> {
    const { verify } = await this.#owner.keys();
    const frame = AgentFrame.safeParse(await open(verify, text));
    if (!frame.success) return null;
    const known = read(socket);
    const { session, seq, host_id, body } = frame.data;
    const fits = session === known.session && seq === known.received + 1 && host_id === this.#owner.hostId();
    if (!fits || (body.kind === "hello" && body.boot_id !== known.boot_id)) return null;
    write(socket, { ...known, received: seq, last: Date.now() });
    return body;
  }

  async #send(socket: WebSocket, bodies: Iterable<ControlBody>): Promise<void> {
    const { sign } = await this.#owner.keys();
    for (const told of bodies) {
      const body = await this.#owner.opened(told);
      const known = read(socket);
      write(socket, { ...known, sent: known.sent + 1 });
      const nonce = toBase64Url(crypto.getRandomValues(new Uint8Array(12)));
      const text = await seal(sign, {
        host_id: this.#owner.hostId(),
        session: known.session,
        seq: known.sent + 1,
        at: Date.now(),
        nonce,
        body,
      });
      if (isOpen(socket)) socket.send(text);
    }
  }

  #queue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

const isOpen = (socket: WebSocket): boolean => socket.readyState === WebSocket.READY_STATE_OPEN;
const read = (socket: WebSocket): Attachment => socket.deserializeAttachment() as Attachment;
const write = (socket: WebSocket, attachment: Attachment): void => socket.serializeAttachment(attachment);

function decodeHeader(text: string): string {
  try {
    return atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return "";
  }
}

export function refusal(code: ProblemCode, detail: string): Response {
  return Response.json(problemBody({ code, detail }), {
    status: PROBLEMS[code].status,
    headers: { "Content-Type": "application/problem+json" },
  });
}
