import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import {
  fromBase64Url,
  generateKeyPair,
  importPrivateKey,
  importPublicKey,
  open,
  seal,
} from "../../contract/envelope.ts";
import {
  type AgentBody,
  AgentFrame,
  Connect,
  type ControlBody,
  type ControlFrame,
  EnrolRequest,
  enrolProofText,
} from "../../contract/frame.ts";
import type { Observation, Workload } from "../../contract/workload.ts";

/**
 * The control plane's end of the link, as far as an agent can tell: the real frames, the real signatures, both transports. It stands in for
 * Workers and Durable Objects, which have tests of their own.
 */
export class ControlPlane {
  readonly hostId = "host_00000000000000000000000000";
  readonly joinToken = "join-token";
  readonly server: Server;
  /** All frames that agents sent, in order. */
  readonly heard: AgentFrame[] = [];
  readonly seen = new Map<string, Observation>();
  readonly settled: number[] = [];
  /** Answers every upgrade and request with this status, when set. */
  refuse: number | null = null;
  /** Takes the place of what is sent as the challenge. */
  challenge: ((frame: ControlFrame) => ControlFrame) | null = null;
  connections = 0;
  pings = 0;
  /** Does not answer pings. */
  mute = false;
  desired: Workload[] = [];
  revision = 1;
  /** Sends the full set by itself after each inventory. */
  answersInventory = true;

  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #waiting = new Set<() => void>();
  #socket: WebSocket | null = null;
  #session = "";
  #seq = 0;
  #agentSeq = 0;
  #ops = 0;
  #controlKey!: CryptoKey;
  #agentKey: CryptoKey | null = null;
  #publicKey = "";
  endpoint: string | null = null;
  enrolments: EnrolRequest[] = [];

  private constructor() {
    this.server = createServer((request, response) => {
      this.#serve(request, response).catch((error: Error) => {
        response.writeHead(500);
        response.end(String(error.stack));
      });
    });
    this.server.on("upgrade", (request, socket, head) => void this.#upgrade(request, socket, head));
  }

  static async start(port = 0): Promise<ControlPlane> {
    const plane = new ControlPlane();
    const keys = await generateKeyPair();
    plane.#publicKey = keys.publicKey;
    plane.#controlKey = await importPrivateKey(keys.privateKey);
    await new Promise<void>((resolve) => plane.server.listen(port, "127.0.0.1", resolve));
    return plane;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get session(): string {
    return this.#session;
  }

  /** Sends a frame, or over `call` posts it; answers the agent's answer lines over `call`. */
  async say(
    body: ControlBody,
    change: (frame: ControlFrame) => ControlFrame = (frame) => frame,
  ): Promise<Response | null> {
    const text = await seal(this.#controlKey, change(this.frame(body)));
    return this.sayText(text);
  }

  async sayText(text: string): Promise<Response | null> {
    if (this.endpoint) return fetch(`${this.endpoint}/frames`, { method: "POST", body: text });
    this.#socket?.send(text);
    return null;
  }

  frame(body: ControlBody, nonce: string = crypto.randomUUID()): ControlFrame {
    return { host_id: this.hostId, session: this.#session, seq: ++this.#seq, at: Date.now(), nonce, body };
  }

  sealed(payload: unknown): Promise<string> {
    return seal(this.#controlKey, payload);
  }

  apply(...workloads: Workload[]): Promise<Response | null> {
    for (const workload of workloads) {
      this.desired = this.desired.filter(({ id }) => id !== workload.id);
      if (workload.want === "running") this.desired.push(workload);
    }
    return this.say({ kind: "apply", revision: ++this.revision, workloads });
  }

  /** Asks over the tunnel, and collects the chunks until the end. */
  async ask(
    question: Extract<ControlBody, { kind: "ask" }>["question"],
    op = `op-${++this.#ops}`,
  ): Promise<{ data: unknown[]; error: unknown }> {
    const from = this.heard.length;
    await this.say({ kind: "ask", op, question });
    const mine = (): AgentBody[] =>
      this.heard
        .slice(from)
        .map((frame) => frame.body)
        .filter((body) => (body.kind === "chunk" || body.kind === "end") && body.op === op);
    await this.until(() => mine().some((body) => body.kind === "end"), "an answer");
    const bodies = mine();
    const end = bodies.find((body) => body.kind === "end");
    return {
      data: bodies.flatMap((body) => (body.kind === "chunk" ? [body.data] : [])),
      error: end?.kind === "end" ? end.error : null,
    };
  }

  cut(): void {
    this.#socket?.terminate();
  }

  /** Resolves once this holds; it is looked at again at each frame. */
  async until(holds: () => boolean, what: string, timeoutMs = 15_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    while (!holds()) {
      if (Date.now() > end)
        throw new Error(`timed out waiting for ${what}; seen: ${JSON.stringify([...this.seen.values()])}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  async phase<P extends Observation["phase"]>(
    id: string,
    phase: P,
    generation?: number,
  ): Promise<Extract<Observation, { phase: P }>> {
    const holds = (): boolean => {
      const seen = this.seen.get(id);
      return seen?.phase === phase && (generation === undefined || seen.generation === generation);
    };
    await this.until(holds, `${id} ${phase} ${generation ?? ""}`);
    return this.seen.get(id) as Extract<Observation, { phase: P }>;
  }

  async close(): Promise<void> {
    this.#socket?.terminate();
    this.#sockets.close();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #noise(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const refusal = this.refuse ?? (await this.#faultOf(request));
    if (refusal !== null) {
      socket.end(`HTTP/1.1 ${refusal} Refused\r\nContent-Length: 0\r\nDate: ${new Date().toUTCString()}\r\n\r\n`);
      return;
    }
    const sealed = new TextDecoder().decode(fromBase64Url(String(request.headers["lamplighter-connect"])));
    const connect = Connect.parse(await open(this.#agentKey as CryptoKey, sealed));
    this.#sockets.handleUpgrade(request, socket, head, (ws) => {
      this.connections++;
      this.#socket = ws;
      this.#session = crypto.randomUUID();
      this.#seq = 0;
      this.#agentSeq = 0;
      let chain = Promise.resolve();
      ws.on("message", (data) => {
        const text = data.toString();
        if (text === "ping") {
          this.pings++;
          if (!this.mute) ws.send("pong");
          return;
        }
        chain = chain
          .then(async () => void (await this.#hear(text)))
          .catch((error: Error) => ws.close(1008, error.message.slice(0, 100)));
      });
      const frame = this.frame({ kind: "challenge", answers: connect.nonce });
      void seal(this.#controlKey, this.challenge?.(frame) ?? frame).then((text) => ws.send(text));
    });
  }

  async #faultOf(request: IncomingMessage): Promise<number | null> {
    if (request.url !== `/hosts/${this.hostId}/tunnel` || !this.#agentKey) return 404;
    const sealed = new TextDecoder().decode(fromBase64Url(String(request.headers["lamplighter-connect"])));
    return (await open(this.#agentKey, sealed)) === null ? 401 : null;
  }

  async #hear(text: string): Promise<AgentFrame> {
    const frame = AgentFrame.parse(await open(this.#agentKey as CryptoKey, text));
    if (frame.body.kind === "hello" && this.endpoint) this.#session = frame.body.boot_id;
    if (frame.session !== this.#session) throw new Error("wrong session");
    if (!this.endpoint && frame.seq !== ++this.#agentSeq) throw new Error("wrong seq");
    this.#note(frame);
    if (!this.endpoint && frame.body.kind === "inventory" && frame.body.last && this.answersInventory) {
      await this.say({ kind: "desired", revision: this.revision, workloads: this.desired, last: true });
    }
    return frame;
  }

  #note(frame: AgentFrame): void {
    this.heard.push(frame);
    const { body } = frame;
    if (body.kind === "inventory" || body.kind === "report")
      for (const observation of body.observations) this.seen.set(observation.id, observation);
    if (body.kind === "settled") this.settled.push(body.revision);
    this.#noise();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const answer = (status: number, body: string): void => {
      response.writeHead(status, { "Content-Type": "application/json" });
      response.end(body);
    };
    if (this.refuse !== null) return answer(this.refuse, "{}");
    if (request.url === "/hosts") {
      if (request.headers.authorization !== `Bearer ${this.joinToken}`) {
        return answer(
          401,
          JSON.stringify({
            type: "",
            title: "No valid token",
            status: 401,
            code: "unauthenticated",
            detail: "",
            violations: [],
          }),
        );
      }
      const enrol = EnrolRequest.parse(JSON.parse(text));
      const key = await importPublicKey(enrol.public_key);
      const proof = new TextEncoder().encode(enrolProofText(enrol.name, enrol.at));
      if (!(await crypto.subtle.verify("Ed25519", key, fromBase64Url(enrol.proof), proof))) return answer(422, "{}");
      this.enrolments.push(enrol);
      this.#agentKey = key;
      this.endpoint = enrol.endpoint ?? null;
      return answer(201, JSON.stringify({ host_id: this.hostId, control_public_key: this.#publicKey }));
    }
    if (request.url === `/hosts/${this.hostId}/frames`) {
      const frame = await this.#hear(text);
      const restated = frame.body.kind === "inventory" && frame.body.last && this.answersInventory;
      const body: ControlBody = restated
        ? { kind: "desired", revision: this.revision, workloads: this.desired, last: true }
        : { kind: "ok" };
      const reply = this.frame(body, frame.nonce);
      return answer(200, await this.sealed({ ...reply, session: frame.session }));
    }
    answer(404, "{}");
  }
}
