import { createServer, type Server } from "node:net";
import { hostname } from "node:os";
import { HOLD_MOST_MS } from "../contract/gateway.ts";
import { ulid } from "../contract/id.ts";
import { CancelKeys, GATEWAY_NUMBER_MOST, type Peer } from "./cancel.ts";
import { Certificate, type CertificateFiles } from "./certificate.ts";
import type { Client } from "./client.ts";
import { ControlPlaneDirectory, TokenRefused } from "./control-plane.ts";
import { type Counters, noCounts } from "./counters.ts";
import { Databases } from "./databases.ts";
import type { DatabaseDirectory } from "./directory.ts";
import { Door } from "./door.ts";
import type { House } from "./house.ts";
import { Lookups } from "./lookups.ts";
import { serveMetrics } from "./metrics.ts";
import { connectionsByOpenFiles } from "./open-files.ts";
import { refusal } from "./refusal.ts";
import { Throttle } from "./throttle.ts";

export { TokenRefused };

const LOGIN_MS = 15_000;
const NOTICE_MS = 5_000;
const LINGER_MS = 60_000;
const AWAY_MS = 20_000;
const DRAIN_MS = 30_000;
const CONNECTIONS_MOST = 15_000;
const LOGINS_PER_ADDRESS = 2_000;
const KEEPALIVE_MS = 60_000;
const BACKLOG = 4096;
const ACCEPT_TOLD_EVERY_MS = 10_000;
/** After the last word to the clients. */
const CLOSE_MS = 2_000;

export type GatewayOptions = {
  /** `fd`: a socket that listens there already. */
  listen: { host: string; port: number; fd?: number | undefined };
  /** Where the databases are known: a control plane, or whatever answers like one. */
  directory: DatabaseDirectory | { url: string; token: string };
  /** Null: no TLS at all. */
  certificate: CertificateFiles | null;
  /** Refuse whoever does not encrypt. */
  tlsRequired: boolean;
  /** How it is called; this machine's name when absent. */
  name?: string | undefined;
  /** Tells the gateways of one address apart, for cancel requests; and where the others are. */
  number?: number | undefined;
  peers?: ReadonlyMap<number, Peer> | undefined;
  /** Where the counters and the health are served over HTTP. */
  metrics?: { host: string; port: number } | undefined;
  log?: ((line: string) => void) | undefined;
  loginMs?: number | undefined;
  holdMs?: number | undefined;
  noticeMs?: number | undefined;
  lingerMs?: number | undefined;
  awayMs?: number | undefined;
  connectionsMost?: number | undefined;
  loginsPerAddress?: number | undefined;
};

export type Gateway = {
  /** The port that it listens on. */
  port: number;
  metricsPort: number | null;
  counters: Readonly<Counters>;
  /** Takes no new clients, ends each session as soon as it is in no transaction, and whatever is left after `drainMs`. */
  close(drainMs?: number): Promise<void>;
};

/**
 * Starts a gateway: the one PostgreSQL address of all databases. Throws a message for a person when it cannot, `TokenRefused` when the control
 * plane does not want it. A control plane that is away is no reason not to start.
 */
export async function runGateway(options: GatewayOptions): Promise<Gateway> {
  const log = options.log ?? (() => {});
  const number = options.number ?? 0;
  if (!Number.isInteger(number) || number < 0 || number > GATEWAY_NUMBER_MOST)
    throw new Error(`the number of a gateway is between 0 and ${GATEWAY_NUMBER_MOST}`);
  if (options.tlsRequired && options.certificate === null)
    throw new Error("TLS is required, and there is no certificate");
  const certificate = options.certificate === null ? null : new Certificate(options.certificate, log);
  const bootId = ulid(Date.now());
  const directory =
    "lookup" in options.directory
      ? options.directory
      : new ControlPlaneDirectory({ ...options.directory, bootId, log });
  const counters = noCounts();
  const lookups = new Lookups(directory, counters);
  const { lingerMs = LINGER_MS, awayMs = AWAY_MS } = options;
  const databases = new Databases(
    { gateway: options.name ?? hostname(), directory, counters, lingerMs, awayMs, log },
    (databaseId) => lookups.forget(databaseId),
  );
  const house: House = {
    certificate,
    tlsRequired: options.tlsRequired,
    lookups,
    databases,
    cancelKeys: new CancelKeys(number, options.peers ?? new Map(), counters),
    throttle: new Throttle(),
    counters,
    loginMs: options.loginMs ?? LOGIN_MS,
    holdMs: options.holdMs ?? HOLD_MOST_MS,
    noticeMs: options.noticeMs ?? NOTICE_MS,
    log,
  };
  const clients = new Set<Client>();
  const connections = options.connectionsMost ?? CONNECTIONS_MOST;
  const sockets = connectionsByOpenFiles();
  if (sockets < 2 * connections) log(`may open files for ${Math.floor(sockets / 2)} sessions only`);
  const door = new Door({
    connections,
    sockets,
    logins: options.loginsPerAddress ?? LOGINS_PER_ADDRESS,
    house,
    clients,
  });
  const server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS, allowHalfOpen: true },
    (socket) => door.enter(socket),
  );
  const { metrics } = options;
  try {
    if (directory instanceof ControlPlaneDirectory) await directory.introduce();
    const now = () => ({ health: door.closed ? "closing" : "ok", leases: databases.size }) as const;
    const served = metrics === undefined ? null : await serveMetrics(metrics, counters, now);
    const port = await listening(server, options.listen);
    tellOfLost(server, log);
    let closing: Promise<void> | null = null;
    const close = async (drainMs: number): Promise<void> => {
      door.closed = true;
      server.close();
      for (const client of clients) client.drain(refusal("shutdown"));
      await empty(clients, drainMs);
      for (const client of clients) client.end(refusal("shutdown"));
      await empty(clients, CLOSE_MS);
      door.cut();
      databases.close(refusal("shutdown"));
      certificate?.close();
      await served?.close();
      await directory.close();
    };
    return {
      port,
      metricsPort: served?.port ?? null,
      counters,
      close: (drainMs = DRAIN_MS) => {
        closing ??= close(drainMs);
        return closing;
      },
    };
  } catch (error) {
    server.close();
    certificate?.close();
    await directory.close();
    throw error;
  }
}

/** Out of file descriptors, mostly. Who could not be taken was closed; all others go on. */
function tellOfLost(server: Server, log: (line: string) => void): void {
  let told = Number.NEGATIVE_INFINITY;
  server.on("error", (error) => {
    if (performance.now() - told < ACCEPT_TOLD_EVERY_MS) return;
    told = performance.now();
    log(`a connection could not be taken: ${error.message}`);
  });
}

async function empty(clients: ReadonlySet<Client>, ms: number): Promise<void> {
  const until = performance.now() + ms;
  while (clients.size > 0 && performance.now() < until) await new Promise((done) => setTimeout(done, 20));
}

function listening(server: Server, { host, port, fd }: GatewayOptions["listen"]): Promise<number> {
  return new Promise((done, fail) => {
    const failed = (error: NodeJS.ErrnoException) =>
      fail(new Error(error.code === "EADDRINUSE" ? `port ${port} of ${host} is taken` : error.message));
    server.once("error", failed);
    server.listen({ ...(fd === undefined ? { host, port } : { fd }), backlog: BACKLOG }, () => {
      server.off("error", failed);
      const address = server.address();
      done(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
