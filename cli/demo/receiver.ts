import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

export type Told = {
  id: string;
  type: string;
  /** From when it happened until it came, ms. */
  afterMs: number;
  data: { deployment_id?: string; old_status?: string; new_status?: string };
};

/** The demo's own receiver of webhooks: what is not signed as Standard Webhooks has it is refused, and kept as a fault. */
export class Receiver {
  readonly told: Told[] = [];
  readonly faults: string[] = [];
  /** What it verifies with: known once the webhook is made. */
  secret = "";
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const at = Date.now();
      const body = await text(request);
      try {
        const headers = request.headers as Record<string, string>;
        const { type, timestamp, data } = new Webhook(this.secret).verify(body, headers) as Told & {
          timestamp: string;
        };
        this.told.push({ id: headers["webhook-id"] ?? "", type, afterMs: at - Date.parse(timestamp), data });
        response.writeHead(204).end();
      } catch (error) {
        this.faults.push(String(error));
        response.writeHead(401).end();
      }
    });
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    await new Promise<void>((done) => receiver.#server.listen(0, "127.0.0.1", done));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/told`;
  }

  /** The statuses that a deployment was told to have had, in the order in which they came; null where a change is missing or came twice. */
  statusesOf(deploymentId: string): string[] | null {
    const changes = this.told.filter(({ data }) => data.deployment_id === deploymentId);
    const statuses = ["pending", ...changes.map(({ data }) => data.new_status ?? "")];
    const isWhole = changes.every(({ data }, i) => data.old_status === statuses[i]);
    return isWhole && new Set(changes.map(({ id }) => id)).size === changes.length ? statuses : null;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}
