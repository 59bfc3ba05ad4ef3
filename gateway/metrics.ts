import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { EXPOSITION_TYPE, expose, type Series, sample } from "../contract/exposition.ts";
import type { Counters } from "./counters.ts";

type Counted = Exclude<keyof Counters, "refused_total">;

const HELP: Readonly<Record<Counted, string>> = {
  connections_total: "Connections taken",
  connections: "Connections that are open",
  logins: "Connections that are not authenticated yet",
  sessions: "Clients that have a backend of their own",
  waiting: "Authenticated clients that wait for a database to be awake",
  logins_total: "Good passwords",
  logins_failed_total: "Wrong passwords, roles and databases",
  logins_slowed_total: "Of those, told later, for being too many of one address or role",
  sessions_total: "Sessions begun",
  sessions_unconfirmed_total: "Sessions begun while the control plane did not answer",
  wakes_total: "Times that the control plane was asked for a database to be awake",
  wakes_failed_total: "Answers that a database cannot be woken",
  lookups_total: "Questions for a role and a database",
  lookups_failed_total: "Such questions without an answer",
  cancels_total: "Cancel requests carried out",
  cancels_forwarded_total: "Cancel requests passed on to another gateway",
  cancels_held_total: "Cancel requests held back while a commit waited for the keepers",
  cancels_unknown_total: "Cancel requests with a key that nobody has",
  backends_lost_total: "Sessions that have lost PostgreSQL",
  commits_in_doubt_total: "Commits whose wait for the keepers was cancelled",
  commit_overrides_total: "Times that a client was seen to have its commits wait for no keeper (synchronous_commit)",
  tls_failed_total: "TLS handshakes that failed",
  bytes_from_clients_total: "Bytes passed to PostgreSQL",
  bytes_to_clients_total: "Bytes passed to clients",
};

export type Health = "ok" | "closing";

/** Serves `/metrics`, and `/health` for whoever spreads connections over gateways: 503 as soon as this one closes. */
export async function serveMetrics(
  listen: { host: string; port: number },
  counters: Readonly<Counters>,
  now: () => { health: Health; leases: number },
): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, body: string) => {
      response.writeHead(status, { "content-type": type });
      response.end(body);
    };
    const json = (status: number, body: unknown) => answer(status, "application/json", `${JSON.stringify(body)}\n`);
    const { health, leases } = now();
    if (request.url === "/health") return json(health === "ok" ? 200 : 503, { status: health });
    if (request.url !== "/metrics") return json(404, { status: "not found" });
    if (request.headers.accept?.includes("application/json")) return json(200, { ...counters, ...own(leases) });
    return answer(200, EXPOSITION_TYPE, expose(series(counters, leases)));
  });
  await new Promise<void>((done, fail) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      fail(new Error(error.code === "EADDRINUSE" ? `port ${listen.port} of ${listen.host} is taken` : error.message)),
    );
    server.listen(listen.port, listen.host, done);
  });
  // It can be out of file descriptors later on, too.
  server.on("error", () => {});
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise<void>((done) => server.close(() => done()));
  };
  return { port: (server.address() as AddressInfo).port, close };
}

const own = (leases: number) => ({
  leases,
  resident_bytes: process.memoryUsage.rss(),
  uptime_seconds: Math.round(process.uptime()),
});

export function series(counters: Readonly<Counters>, leases: number): Series[] {
  const one = (name: string, help: string, value: number): Series => ({
    name: `lamplighter_gateway_${name}`,
    type: name.endsWith("_total") ? "counter" : "gauge",
    help,
    samples: [sample(value)],
  });
  const { resident_bytes, uptime_seconds } = own(leases);
  return [
    ...Object.entries(HELP).map(([name, help]) => one(name, help, counters[name as Counted])),
    {
      name: "lamplighter_gateway_refused_total",
      type: "counter",
      help: "Clients refused, by SQLSTATE",
      samples: Object.entries(counters.refused_total).map(([code, value]) => sample(value, { code })),
    },
    one("leases", "Databases that are in use here", leases),
    one("resident_bytes", "Memory of the gateway", resident_bytes),
    one("uptime_seconds", "Since the gateway was started", uptime_seconds),
  ];
}
