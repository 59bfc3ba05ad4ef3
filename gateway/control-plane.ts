import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { GATEWAY_PATHS, type GatewayFrame, LeaseFrame, Lookup, type LookupQuestion } from "../contract/gateway.ts";
import type { DatabaseDirectory, LeaseEar, LeaseLine } from "./directory.ts";

const LOOKUP_MS = 5_000;
const HANDSHAKE_MS = 5_000;
const REDIAL_LEAST_MS = 50;
const REDIAL_MOST_MS = 2_000;
const FRAME_MOST = 256 * 1024;

/** The control plane does not take this gateway's token. */
export class TokenRefused extends Error {}

export type ControlPlane = { url: string; token: string; bootId: string; log: (line: string) => void };

/** The databases as the control plane knows them, over HTTP and one WebSocket per database in use. */
export class ControlPlaneDirectory implements DatabaseDirectory {
  readonly #plane: ControlPlane;
  readonly #lines = new Set<Line>();
  #trouble = "";

  constructor(plane: ControlPlane) {
    this.#plane = { ...plane, url: plane.url.replace(/\/+$/, "") };
  }

  /** Asks for what cannot exist: throws `TokenRefused` when the control plane refuses to answer, and only says so when there is none. */
  async introduce(): Promise<void> {
    try {
      await this.#ask({ role: "\u{fffd}", database: "\u{fffd}" });
    } catch (error) {
      if (error instanceof TokenRefused) throw error;
      this.#note(error as Error);
    }
  }

  async lookup(question: LookupQuestion): Promise<Lookup> {
    try {
      const answer = await this.#ask(question);
      this.#note(null);
      return answer;
    } catch (error) {
      this.#note(error as Error);
      throw error;
    }
  }

  async #ask(question: LookupQuestion): Promise<Lookup> {
    const { url, token } = this.#plane;
    const response = await fetch(`${url}${GATEWAY_PATHS.lookup}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(question),
      signal: AbortSignal.timeout(LOOKUP_MS),
    });
    if (response.ok) return Lookup.parse(await response.json());
    await response.body?.cancel();
    const why = `the control plane at ${url} answers ${response.status} to a lookup`;
    if (response.status === 401 || response.status === 403)
      throw new TokenRefused(`${why}: the token is not good for it`);
    throw new Error(why);
  }

  /** Said once, and once more when it is over: there may be a thousand questions a second. */
  #note(error: Error | null): void {
    const trouble = error === null ? "" : causeOf(error);
    if (trouble === this.#trouble) return;
    this.#plane.log(error === null ? "the control plane answers again" : `no answer to a lookup: ${trouble}`);
    this.#trouble = trouble;
  }

  converse(databaseId: string, ear: LeaseEar): LeaseLine {
    const line = new Line(this.#plane, databaseId, ear, () => this.#lines.delete(line));
    this.#lines.add(line);
    return line;
  }

  async close(): Promise<void> {
    for (const line of [...this.#lines]) line.close();
  }
}

class Line implements LeaseLine {
  readonly #plane: ControlPlane;
  readonly #databaseId: string;
  readonly #ear: LeaseEar;
  readonly #ended: () => void;
  readonly #closing = new AbortController();
  #socket: WebSocket | null = null;

  constructor(plane: ControlPlane, databaseId: string, ear: LeaseEar, ended: () => void) {
    this.#plane = plane;
    this.#databaseId = databaseId;
    this.#ear = ear;
    this.#ended = ended;
    void this.#run();
  }

  send(frame: GatewayFrame): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#socket?.close(1000);
    // A peer that does not answer the close must not hold up the end.
    const socket = this.#socket;
    setTimeout(() => socket?.terminate(), 500).unref();
    this.#ended();
  }

  async #run(): Promise<void> {
    let told = "";
    let wait = REDIAL_LEAST_MS;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      // Only a line that is spoken on counts: a door that opens and shuts again is not dialled without end.
      const why = await this.#dial(() => {
        wait = REDIAL_LEAST_MS;
        told = "";
      });
      if (signal.aborted) return;
      if (why !== told) this.#plane.log(`lease of ${this.#databaseId}: ${why}; dialling again until it is up`);
      told = why;
      await sleep(wait * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
      wait = Math.min(REDIAL_MOST_MS, wait * 2);
    }
  }

  /** One connection, from dialling to its end; answers why it ended. */
  #dial(heard: () => void): Promise<string> {
    const { url, token, bootId } = this.#plane;
    const address = `${url.replace(/^http/, "ws")}${GATEWAY_PATHS.lease(this.#databaseId, bootId)}`;
    return new Promise((ended) => {
      const socket = new WebSocket(address, {
        headers: { authorization: `Bearer ${token}` },
        handshakeTimeout: HANDSHAKE_MS,
        maxPayload: FRAME_MOST,
        perMessageDeflate: false,
      });
      this.#socket = socket;
      let why = "the line was cut";
      socket.on("open", () => {
        if (!this.#closing.signal.aborted) this.#ear.up();
      });
      socket.on("message", (data, isBinary) => {
        if (isBinary || this.#closing.signal.aborted) return;
        const frame = LeaseFrame.safeParse(parse(data.toString()));
        // A kind that is not known yet is from a newer control plane.
        if (!frame.success) return;
        heard();
        this.#ear.heard(frame.data);
      });
      socket.on("unexpected-response", (_request, response) => {
        why = `the control plane answers ${response.statusCode}`;
        socket.terminate();
      });
      socket.on("error", (error) => {
        if (why === "the line was cut") why = error.message;
      });
      socket.on("close", () => ended(why));
    });
  }
}

/** `fetch failed` says nothing; what it stands for does. */
const causeOf = ({ message, cause }: Error): string =>
  cause instanceof Error && cause.message !== "" ? cause.message : message;

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
