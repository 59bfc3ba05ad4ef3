import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { CLOCK_TOLERANCE_MS } from "../../contract/envelope.ts";
import { type AgentBody, type ControlFrame, HEARTBEAT_EVERY_MS } from "../../contract/frame.ts";
import { Backoff } from "./backoff.ts";
import type { Conversation } from "./conversation.ts";
import { Nonces } from "./nonces.ts";
import type { Outbox } from "./outbox.ts";
import { type Link, type LinkEnd, newNonce, type Peer, readFrame, refusalHint, sealFrame } from "./peer.ts";

const BODY_MOST = 32 * 1024 ** 2;
const POST_MS = 15_000;
const REFUSED_MS = 10_000;

export type CallOptions = {
  peer: Peer;
  outbox: Outbox;
  conversation: Conversation;
  listen: { host: string; port: number };
  log: (line: string) => void;
  heartbeatMs?: number;
};

/** Why a frame was not taken. */
type Fault = { status: number; code: "bad_frame" | "wrong_session" | "clock" | "replayed" | "out_of_order" };

class Refused extends Error {}
class Removed extends Error {}

/**
 * The transport in which each side makes HTTP requests to the other. The agent's own requests begin with the whole, and begin with it again
 * after any failure, so that nothing depends on a single request having come through.
 */
export class Call implements Link {
  readonly ended: Promise<LinkEnd>;
  readonly #options: CallOptions;
  readonly #server: Server;
  readonly #closing = new AbortController();
  readonly #nonces = new Nonces(2 * CLOCK_TOLERANCE_MS);
  #sent = 0;
  /** The highest number of a frame that said what should run. */
  #lastState = 0;
  #restate = false;
  #wake: () => void = () => {};

  /** Resolves when the agent listens. */
  static async listen(options: CallOptions): Promise<Call> {
    const server = createServer({ requestTimeout: 60_000 });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(new Error(`The agent cannot listen: ${error.message}`)));
      server.listen(options.listen.port, options.listen.host, resolve);
    });
    return new Call(options, server);
  }

  private constructor(options: CallOptions, server: Server) {
    this.#options = options;
    this.#server = server;
    server.on("request", (request, response) => {
      this.#serve(request, response).catch((error: Error) => {
        options.log(`link: ${error.message}`);
        response.destroy();
      });
    });
    this.ended = this.#run();
  }

  /** The port that the agent listens on. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : this.#options.listen.port;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake();
    this.#options.conversation.end();
    this.#server.close();
    this.#server.closeAllConnections();
    await this.ended;
  }

  async #run(): Promise<LinkEnd> {
    const { outbox, conversation, log, heartbeatMs = HEARTBEAT_EVERY_MS } = this.#options;
    const backoff = new Backoff();
    let told = "";
    while (!this.#closing.signal.aborted) {
      try {
        this.#restate = false;
        for (const body of outbox.restate()) await this.#post(body);
        log("link: up");
        told = "";
        while (!this.#closing.signal.aborted && !this.#restate) {
          if (outbox.isEmpty) await this.#sleep(heartbeatMs, true);
          backoff.reset();
          if (this.#closing.signal.aborted || this.#restate) break;
          const bodies: AgentBody[] = outbox.isEmpty ? [{ kind: "heartbeat" }] : outbox.take();
          for (const body of bodies) await this.#post(body);
        }
      } catch (error) {
        if (error instanceof Removed) {
          conversation.end();
          this.#server.close();
          return "removed";
        }
        const { message } = error as Error;
        if (!this.#closing.signal.aborted && message !== told) log(`link: ${message}; trying again until it is up`);
        told = message;
        await this.#sleep(error instanceof Refused ? REFUSED_MS * (0.5 + Math.random()) : backoff.next(), false);
      }
    }
    return "closed";
  }

  /** Sleeps until the time is up, the link is closed or, with `orNews`, there is something to send. */
  #sleep(ms: number, orNews: boolean): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#options.outbox.onNews(orNews ? this.#wake : () => {});
      if (this.#closing.signal.aborted) this.#wake();
    });
  }

  /** Sends one frame, and takes in the answer. */
  async #post(body: AgentBody): Promise<void> {
    const { peer, conversation } = this.#options;
    const nonce = newNonce();
    const sealed = await sealFrame(peer, peer.bootId, ++this.#sent, body, nonce);
    const response = await fetch(`${peer.url}/hosts/${peer.hostId}/frames`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: sealed,
      signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(POST_MS)]),
    });
    const text = await response.text();
    if (response.status === 410) throw new Removed();
    if (response.status === 401 || response.status === 403)
      throw new Refused(refusalHint(response.status, response.headers.get("date")));
    if (!response.ok) throw new Error(`the control plane answers HTTP ${response.status}`);
    for (const line of text.split("\n").filter(Boolean)) {
      const frame = await readFrame(peer, line);
      if (frame === null || frame.session !== peer.bootId || frame.nonce !== nonce)
        throw new Error("the control plane's answer does not fit");
      if (!this.#isNewest(frame)) continue;
      await conversation.hear(frame.body, async () => {});
    }
  }

  /** Takes a request of the control plane. */
  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { peer, conversation } = this.#options;
    const path = (request.url ?? "").split("?")[0] ?? "";
    if (request.method !== "POST" || !path.endsWith("/frames")) return end(response, 404, { code: "not_found" });
    const text = await readBody(request);
    if (text === null) return end(response, 413, { code: "body_too_large" });
    const frame = await this.#verify(text);
    if ("status" in frame) return end(response, frame.status, { code: frame.code });

    const say = async (body: AgentBody): Promise<void> => {
      const line = await sealFrame(peer, peer.bootId, ++this.#sent, body, frame.nonce);
      if (response.destroyed || response.write(`${line}\n`)) return;
      await new Promise<void>((resolve) => {
        response.once("drain", resolve);
        response.once("close", resolve);
      });
    };
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    const { body } = frame;
    if (body.kind === "ask") {
      // Whoever stops reading no longer wants the answer.
      response.once("close", () => void conversation.hear({ kind: "cancel", op: body.op }, say));
      response.flushHeaders();
      await conversation.hear(body, say);
    } else {
      await conversation.hear(body, say);
      await say({ kind: "heartbeat" });
    }
    response.end();
  }

  async #verify(text: string): Promise<ControlFrame | Fault> {
    const { peer } = this.#options;
    const frame = await readFrame(peer, text);
    if (frame === null) return { status: 403, code: "bad_frame" };
    if (frame.session !== peer.bootId) return { status: 409, code: "wrong_session" };
    if (Math.abs(frame.at - Date.now()) > CLOCK_TOLERANCE_MS) return { status: 403, code: "clock" };
    if (!this.#nonces.add(frame.nonce)) return { status: 409, code: "replayed" };
    if (!this.#isNewest(frame)) return { status: 409, code: "out_of_order" };
    return frame;
  }

  /** Whether a frame may be acted on: one that says what should run, and was overtaken by a later one, has the whole said again instead. */
  #isNewest({ seq, body }: ControlFrame): boolean {
    if (body.kind !== "desired" && body.kind !== "apply" && body.kind !== "dismiss") return true;
    if (seq <= this.#lastState) {
      this.#restate = true;
      this.#wake();
      return false;
    }
    this.#lastState = seq;
    return true;
  }
}

function end(response: ServerResponse, status: number, body: { code: string }): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_MOST) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
