import { env } from "cloudflare:workers";
import type { GatewayFrame, LeaseFrame } from "../../contract/gateway.ts";

/** A run of a gateway, as far as a database can tell. */
export class SimulatedGateway {
  readonly frames: LeaseFrame[] = [];
  readonly boot = crypto.randomUUID();
  readonly #id: string;
  #socket: WebSocket | null = null;
  #seq = 0;
  /** What it says of its clients. */
  clients = { sessions: 0, waiting: 0 };
  term: number | null = null;
  isQuiet = true;

  constructor(id: string) {
    this.#id = id;
  }

  /** Why its line was closed; null while it is open. */
  closed: { code: number; reason: string } | null = null;
  /** Why it cannot reach the writer. */
  suspect: string | null = null;

  async dial(token?: string): Promise<this> {
    const response = await env.DATABASE.getByName(this.#id).fetch(
      `http://control/gateway/databases/x/lease?boot_id=${this.boot}`,
      {
        headers: { Upgrade: "websocket", ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) },
      },
    );
    const socket = response.webSocket as WebSocket;
    socket.addEventListener("message", (event) => {
      const frame = JSON.parse(String(event.data)) as LeaseFrame;
      this.frames.push(frame);
      if (frame.kind === "ready") {
        this.term = frame.term;
        this.clients = { sessions: this.clients.sessions + this.clients.waiting, waiting: 0 };
      }
      if (frame.kind === "quiesce") {
        const quiet = this.isQuiet && this.clients.sessions + this.clients.waiting === 0;
        if (quiet) this.term = null;
        this.send({ kind: "quiet", stop: frame.stop, quiet, sessions: 0, waiting: 0 });
      }
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
    socket.accept();
    this.#socket = socket;
    return this;
  }

  send(frame: GatewayFrame): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  say(): void {
    const { sessions, waiting } = this.clients;
    const client = { address: "10.0.0.7", application_name: "psql", role: "u", since: 1, phase: "waiting" as const };
    this.send({
      ...{ kind: "lease", seq: ++this.#seq, gateway: "gate", wake: waiting > 0, term: this.term },
      suspect: this.suspect === null ? null : { term: 1, why: this.suspect },
      ...{ sessions, in_transaction: 0, waiting, idle_ms: sessions + waiting > 0 ? 0 : 1 },
      clients: sessions + waiting > 0 ? [client] : [],
    });
  }

  connect(n = 1): void {
    this.clients.waiting += n;
    this.say();
  }

  leave(): void {
    this.clients = { sessions: 0, waiting: 0 };
    this.say();
  }

  count = (kind: LeaseFrame["kind"]): number => this.frames.filter((frame) => frame.kind === kind).length;
  close(): void {
    this.#socket?.close(1000);
  }
}
