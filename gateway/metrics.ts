import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Counters } from "./counters.ts";

/** Serves `/metrics` and `/health`, for machines. */
export async function serveMetrics(
  listen: { host: string; port: number },
  counters: Readonly<Counters>,
  leases: () => number,
): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const body =
      request.url === "/metrics"
        ? {
            ...counters,
            leases: leases(),
            resident_bytes: process.memoryUsage.rss(),
            uptime_s: Math.round(process.uptime()),
          }
        : request.url === "/health"
          ? { status: "ok" }
          : null;
    response.writeHead(body === null ? 404 : 200, { "content-type": "application/json" });
    response.end(`${JSON.stringify(body ?? { status: "not found" })}\n`);
  });
  await new Promise<void>((done, fail) => {
    server.once("error", fail);
    server.listen(listen.port, listen.host, done);
  });
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise<void>((done) => server.close(() => done()));
  };
  return { port: (server.address() as AddressInfo).port, close };
}
