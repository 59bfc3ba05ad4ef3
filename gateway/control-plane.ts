import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { GATEWAY_PATHS, type GatewayFrame, LeaseFrame, Lookup, type LookupQuestion } from "../contract/gateway.ts";
import type { DatabaseDirectory, LeaseEar, LeaseLine } from "./directory.ts";

const LOOKUP_MS = 5_000;
const HANDSHAKE_MS = 5_000;
const REDIAL_LEAST_MS = 50;
const REDIAL_MOST_MS = 2_000;
const FRAME_MOST = 256 * 1024;

export type ControlPlane = { url: string; token: string; bootId: string; log: (line: string) => void };

/** The databases as the control plane knows them, over HTTP and one WebSocket per database in use. */
export class ControlPlaneDirectory implements DatabaseDirectory {
  readonly #plane: ControlPlane;
  readonly #lines = new Set<Line>();

  constructor(plane: ControlPlane) {
    this.#plane = { ...plane, url: plane.url.replace(/\/+$/, "") };
  }

  async lookup(question: LookupQuestion): Promise<Lookup> {
    const { url, token } = this.#plane;
    const response = await fetch(`${url}${GATEWAY_PATHS.lookup}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(question),
      signal: AbortSignal.timeout(LOOKUP_MS),
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`the control plane answers ${response.status} to a lookup`);
    }
    return Lookup.parse(await response.json());
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

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
