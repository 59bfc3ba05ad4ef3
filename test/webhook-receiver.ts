import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export type Received = { at: number; headers: IncomingHttpHeaders; body: string };
/** What to answer; `hang`: nothing, until the other side gives up. */
export type Behaviour = {
  status?: number;
  headers?: Record<string, string>;
  body?: string;
  delayMs?: number;
  hang?: boolean;
};

/**
 * Somebody else's server: it takes what is POSTed to `/r/<name>` and answers as that name was told to, 204 when it was told nothing. Told and
 * asked by methods here, or over HTTP by tests inside workerd: `PUT /r/<name>` with a list of behaviours, the last of which stays;
 * `GET /r/<name>` answers what came.
 */
export class WebhookReceiver {
  readonly #server: Server;
  readonly #received = new Map<string, Received[]>();
  readonly #behaviours = new Map<string, Behaviour[]>();
  /** Called for everything that comes. */
  heard: (name: string, received: Received) => void = () => {};

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const name = (request.url ?? "").slice("/r/".length);
      const at = Date.now();
      const body = await text(request);
      if (request.method === "GET") return void response.end(JSON.stringify(this.received(name)));
      if (request.method === "PUT") {
        this.#behaviours.set(name, JSON.parse(body) as Behaviour[]);
        return void response.end();
      }
      const received = { at, headers: request.headers, body };
      this.received(name).push(received);
      this.heard(name, received);
      const told = this.#behaviours.get(name) ?? [];
      const behaviour = (told.length > 1 ? told.shift() : told[0]) ?? {};
      if (behaviour.hang) return;
      const answer = () => response.writeHead(behaviour.status ?? 204, behaviour.headers).end(behaviour.body);
      if (behaviour.delayMs === undefined) answer();
      else setTimeout(answer, behaviour.delayMs);
    });
  }

  /** @param port that of one which was closed, to be there again */
  static async start(port = 0): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    await new Promise<void>((done) => receiver.#server.listen(port, "127.0.0.1", done));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Where to send for a name. */
  address(name: string): string {
    return `${this.url}/r/${name}`;
  }

  received(name: string): Received[] {
    const list = this.#received.get(name) ?? [];
    this.#received.set(name, list);
    return list;
  }

  behave(name: string, ...behaviours: Behaviour[]): void {
    this.#behaviours.set(name, behaviours);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}
