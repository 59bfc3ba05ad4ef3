import { setTimeout as sleep } from "node:timers/promises";
import WebSocket, { type RawData } from "ws";
import { seal, toBase64Url } from "../../contract/envelope.ts";
import {
  type AgentBody,
  type Connect,
  HEARTBEAT_EVERY_MS,
  HEARTBEAT_PING,
  HEARTBEAT_PONG,
} from "../../contract/frame.ts";
import { Backoff } from "./backoff.ts";
import type { Conversation } from "./conversation.ts";
import type { Outbox } from "./outbox.ts";
import { type Link, type LinkEnd, newNonce, type Peer, readFrame, refusalHint, sealFrame } from "./peer.ts";

const MESSAGE_MOST = 32 * 1024 ** 2;
const HANDSHAKE_MS = 10_000;
/** A refusal seldom passes by itself. */
const REFUSED_MS = 10_000;
/** Of a connection that the agent itself has given up: if it held this long, the next attempts begin with short delays again. */
const GOOD_MS = 5_000;
/** More than this unsent, and whoever streams waits. */
const UNSENT_MOST = 1024 ** 2;

export type TunnelOptions = {
  peer: Peer;
  outbox: Outbox;
  conversation: Conversation;
  log: (line: string) => void;
  heartbeatMs?: number;
};

type Outcome = { end: "cut"; good: boolean; why: string } | { end: "refused"; why: string } | { end: "removed" };

/** The transport in which the agent dials out: one WebSocket, dialled again for as long as it takes. */
export class Tunnel implements Link {
  readonly ended: Promise<LinkEnd>;
  readonly #options: TunnelOptions;
  readonly #closing = new AbortController();
  #socket: WebSocket | null = null;

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.ended = this.#run();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#socket?.close(1001);
    // A peer that does not answer the close must not hold up the end.
    const socket = this.#socket;
    setTimeout(() => socket?.terminate(), 500).unref();
    await this.ended;
  }

  async #run(): Promise<LinkEnd> {
    const backoff = new Backoff();
    const { log } = this.#options;
    let told = "";
    while (!this.#closing.signal.aborted) {
      const outcome = await this.#connect();
      this.#options.conversation.end();
      if (outcome.end === "removed") return "removed";
      if (this.#closing.signal.aborted) break;
      if (outcome.end === "cut" && outcome.good) {
        told = "";
        backoff.reset();
      }
      const delay = outcome.end === "refused" ? REFUSED_MS * (0.5 + Math.random()) : backoff.next();
      if (outcome.why !== told) log(`link: ${outcome.why}; dialling again until it is up`);
      told = outcome.why;
      await sleep(delay, undefined, { signal: this.#closing.signal }).catch(() => {});
    }
    return "closed";
  }

  /** One connection, from dialling to its end. */
  async #connect(): Promise<Outcome> {
    const { peer, outbox, conversation, log, heartbeatMs = HEARTBEAT_EVERY_MS } = this.#options;
    const nonce = newNonce();
    const connect: Connect = { kind: "connect", host_id: peer.hostId, boot_id: peer.bootId, at: Date.now(), nonce };
    const sealed = toBase64Url(new TextEncoder().encode(await seal(peer.privateKey, connect)));
    return new Promise((resolve) => {
      const socket = new WebSocket(`${peer.url.replace(/^http/, "ws")}/hosts/${peer.hostId}/tunnel`, {
        headers: { "Lamplighter-Connect": sealed },
        handshakeTimeout: HANDSHAKE_MS,
        maxPayload: MESSAGE_MOST,
        perMessageDeflate: false,
      });
      this.#socket = socket;
      let session: string | null = null;
      let received = 0;
      let sent = 0;
      let why = "the connection was cut";
      let isDropped = false;
      const since = performance.now();
      const isGood = (): boolean => session !== null && (!isDropped || performance.now() - since > GOOD_MS);
      let over = false;
      let receiving: Promise<void> = Promise.resolve();
      let sending: Promise<void> = Promise.resolve();
      let heardAt = performance.now();

      const drop = (reason: string): void => {
        why = reason;
        isDropped = true;
        socket.terminate();
      };
      const finish = (outcome: Outcome): void => {
        if (over) return;
        over = true;
        clearInterval(heartbeat);
        outbox.onNews(() => {});
        resolve(outcome);
      };

      const send = (body: AgentBody): Promise<void> => {
        sending = sending.then(async () => {
          if (over || session === null) return;
          const text = await sealFrame(peer, session, ++sent, body);
          if (socket.readyState !== WebSocket.OPEN) return;
          const written = new Promise<void>((done) => socket.send(text, () => done()));
          if (socket.bufferedAmount > UNSENT_MOST) await written;
        });
        return sending;
      };

      const receive = async (text: string): Promise<void> => {
        const frame = await readFrame(peer, text);
        if (over) return;
        if (frame === null || frame.seq !== received + 1 || (session !== null && frame.session !== session)) {
          return drop("the control plane sent a frame that does not fit");
        }
        received = frame.seq;
        if (session === null) {
          if (frame.body.kind !== "challenge" || frame.body.answers !== nonce)
            return drop("the control plane could not prove who it is");
          session = frame.session;
          log("link: up");
          for (const body of outbox.restate()) void send(body);
          let scheduled = false;
          outbox.onNews(() => {
            if (scheduled) return;
            scheduled = true;
            queueMicrotask(() => {
              scheduled = false;
              for (const body of outbox.take()) void send(body);
            });
          });
          return;
        }
        // A question may take long, and must not hold up what comes after it.
        conversation.hear(frame.body, send).catch((error: Error) => drop(error.message));
      };

      const heartbeat = setInterval(() => {
        if (performance.now() - heardAt > 2 * heartbeatMs) return drop("the control plane does not answer");
        if (socket.readyState === WebSocket.OPEN) socket.send(HEARTBEAT_PING);
      }, heartbeatMs);

      socket.on("open", () => {
        heardAt = performance.now();
      });
      socket.on("message", (data: RawData, isBinary: boolean) => {
        heardAt = performance.now();
        if (isBinary) return drop("the control plane sent a frame that does not fit");
        const text = data.toString();
        if (text === HEARTBEAT_PONG) return;
        receiving = receiving.then(() => receive(text)).catch((error: Error) => drop(error.message));
      });
      socket.on("unexpected-response", (request, response) => {
        const status = response.statusCode ?? 0;
        request.destroy();
        if (status === 410) finish({ end: "removed" });
        else if (status === 401 || status === 403)
          finish({ end: "refused", why: refusalHint(status, response.headers.date) });
        else finish({ end: "cut", good: false, why: `the control plane answers HTTP ${status}` });
      });
      socket.on("error", (error) => finish({ end: "cut", good: isGood(), why: `no connection (${error.message})` }));
      socket.on("close", () => finish({ end: "cut", good: isGood(), why }));
      if (this.#closing.signal.aborted) socket.terminate();
    });
  }
}
