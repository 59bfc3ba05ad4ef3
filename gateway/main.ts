import { createServer, type Server, type Socket } from "node:net";
import { hostname } from "node:os";
import { HOLD_MOST_MS } from "../contract/gateway.ts";
import { ulid } from "../contract/id.ts";
import { CancelKeys, GATEWAY_NUMBER_MOST, type Peer } from "./cancel.ts";
import { Certificate, type CertificateFiles } from "./certificate.ts";
import { Client } from "./client.ts";
import { ControlPlaneDirectory, TokenRefused } from "./control-plane.ts";
import { type Counters, countRefusal, noCounts } from "./counters.ts";
import { Databases } from "./databases.ts";
import type { DatabaseDirectory } from "./directory.ts";
import type { House } from "./house.ts";
import { Lookups } from "./lookups.ts";
import { serveMetrics } from "./metrics.ts";
import { refusal } from "./refusal.ts";
import { Throttle } from "./throttle.ts";

export { TokenRefused };

const LOGIN_MS = 15_000;
const NOTICE_MS = 5_000;
const LINGER_MS = 60_000;
const DRAIN_MS = 30_000;
const CONNECTIONS_MOST = 15_000;
const LOGINS_PER_ADDRESS = 2_000;
const KEEPALIVE_MS = 60_000;
const BACKLOG = 4096;
/** After the last word to the clients. */
const CLOSE_MS = 2_000;

export type GatewayOptions = {
  listen: { host: string; port: number };
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
  const databases = new Databases(
    { gateway: options.name ?? hostname(), directory, counters, lingerMs: options.lingerMs ?? LINGER_MS, log },
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
  const door = new Door({
    connections: options.connectionsMost ?? CONNECTIONS_MOST,
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

type DoorOptions = { connections: number; logins: number; house: House; clients: Set<Client> };

/** Lets connections in, as many as there may be. */
class Door {
  closed = false;
  readonly #options: DoorOptions;
  readonly #sockets = new Set<Socket>();
  readonly #logins = new Map<string, number>();

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  enter(socket: Socket): void {
    const { connections, logins, house, clients } = this.#options;
    const { counters } = house;
    socket.on("error", () => {});
    const address = socket.remoteAddress ?? "";
    const here = this.#logins.get(address) ?? 0;
    if (this.closed || this.#sockets.size >= connections || here >= logins) {
      const why = refusal(this.closed ? "shutdown" : "too_many_clients");
      countRefusal(counters, why.report.code);
      // Whatever its first bytes say: an error is understood in their place.
      socket.end(why.packet, () => socket.destroy());
      return;
    }
    this.#sockets.add(socket);
    this.#logins.set(address, here + 1);
    counters.connections++;
    counters.connections_total++;
    const client = new Client(socket, house);
    clients.add(client);
    socket.once("close", () => {
      counters.connections--;
      this.#sockets.delete(socket);
      clients.delete(client);
    });
    void client.serve().then(() => {
      const left = (this.#logins.get(address) ?? 1) - 1;
      if (left === 0) this.#logins.delete(address);
      else this.#logins.set(address, left);
    });
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

async function empty(clients: ReadonlySet<Client>, ms: number): Promise<void> {
  const until = performance.now() + ms;
  while (clients.size > 0 && performance.now() < until) await new Promise((done) => setTimeout(done, 20));
}

function listening(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  return new Promise((done, fail) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      fail(new Error(error.code === "EADDRINUSE" ? `port ${port} of ${host} is taken` : error.message)),
    );
    server.listen({ host, port, backlog: BACKLOG }, () => {
      const address = server.address();
      done(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
