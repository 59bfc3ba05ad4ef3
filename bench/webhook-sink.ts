// A process that takes webhooks and says when each came. Asked over IPC: every message is answered with what came since the last one.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** `at` and `committed`: ms since 1970, the latter as the body tells it. */
export type Arrival = { endpoint: string; id: string; committed: number; at: number };

let arrivals: Arrival[] = [];

const server = createServer(async (request, response) => {
  const at = performance.timeOrigin + performance.now();
  const body = await text(request);
  response.writeHead(204).end();
  const { timestamp } = JSON.parse(body) as { timestamp: string };
  const id = String(request.headers["webhook-id"]);
  arrivals.push({ endpoint: request.url ?? "", id, committed: Date.parse(timestamp), at });
});
// Longer than any pause between the rounds.
server.keepAliveTimeout = 120_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("message", () => {
  process.send?.(arrivals);
  arrivals = [];
});
process.on("disconnect", () => process.exit(0));
