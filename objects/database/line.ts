import { GatewayFrame, LEASE_RENEW_MS, LEASE_TTL_MS, type LeaseFrame } from "../../contract/gateway.ts";
import type { Said } from "./draft.ts";
import { isOver, type LineToken, lineTokenOf } from "./line-token.ts";

/** The WebSockets of gateways, accepted with hibernation: which run of a gateway one belongs to, it remembers itself. */
type Attachment = { boot_id: string; token: LineToken | null };

export class Lines {
  readonly #ctx: DurableObjectState;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  async open(request: Request, env: Env): Promise<Response> {
    const token = await lineTokenOf(request, env);
    const bootId = new URL(request.url).searchParams.get("boot_id") ?? "";
    const { 0: client, 1: server } = new WebSocketPair();
    // Of one run there is one line: an older one is what is left of a connection that broke.
    for (const old of this.#ctx.getWebSockets(bootId)) old.close(1000, "replaced by a newer connection");
    this.#ctx.acceptWebSocket(server, [bootId]);
    server.serializeAttachment({ boot_id: bootId, token } satisfies Attachment);
    return new Response(null, { status: 101, webSocket: client });
  }

  /** The runs of gateways that can be spoken to now. */
  connected(except?: WebSocket): Set<string> {
    const open = this.#ctx.getWebSockets().filter((socket) => socket !== except && isOpen(socket));
    return new Set(open.map(bootIdOf));
  }

  /** They dial again if they are there. */
  hangUp(bootIds: readonly string[]): void {
    for (const bootId of bootIds)
      for (const socket of this.#ctx.getWebSockets(bootId)) socket.close(1001, "the lease ran out");
  }

  /** Hangs up when the token that the line was opened by is no longer good. */
  async recheck(socket: WebSocket, env: Env): Promise<void> {
    const { token } = attachmentOf(socket);
    if (token && (await isOver(env, token, Date.now()))) socket.close(1008, "the token is no longer good");
  }

  say(all: readonly Said[]): void {
    for (const { to, frame } of all)
      for (const socket of to === null ? this.#ctx.getWebSockets() : this.#ctx.getWebSockets(to)) send(socket, frame);
  }
}

const attachmentOf = (socket: WebSocket): Attachment => socket.deserializeAttachment() as Attachment;

export const bootIdOf = (socket: WebSocket): string => attachmentOf(socket).boot_id;

/** The frame, or null when it is none. */
export function parseFrame(text: string | ArrayBuffer): GatewayFrame | null {
  if (typeof text !== "string") return null;
  try {
    return GatewayFrame.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

export const granted = (seq: number): LeaseFrame => ({
  kind: "granted",
  seq,
  ttl_ms: LEASE_TTL_MS,
  renew_ms: LEASE_RENEW_MS,
});

export function send(socket: WebSocket, frame: LeaseFrame): void {
  if (isOpen(socket)) socket.send(JSON.stringify(frame));
}

const isOpen = (socket: WebSocket): boolean => socket.readyState === WebSocket.READY_STATE_OPEN;
