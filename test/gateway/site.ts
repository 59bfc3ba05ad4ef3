// A PostgreSQL that sleeps, the directory that wakes it, and gateways in front of both.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

import { credentials, SCRAM_ITERATIONS } from "../../contract/scram.ts";
import { type CertificateFiles, selfSignedIn } from "../../gateway/certificate.ts";
import { type Gateway, type GatewayOptions, runGateway } from "../../gateway/main.ts";
import { Cluster } from "./cluster.ts";
import { MemoryDatabase, MemoryDirectory } from "./memory-directory.ts";

export const PASSWORD = "correct horse battery staple";

export class Site {
  readonly cluster: Cluster;
  readonly directory = new MemoryDirectory();
  readonly database: MemoryDatabase;
  readonly certificate: CertificateFiles;
  readonly folder = mkdtempSync(join(tmpdir(), "lamplighter-gateway-"));
  readonly logged: string[] = [];
  /** How starting is done; tests put other ways in. */
  starting: (term: number, tell: (message: string) => void) => Promise<void>;
  readonly #gateways: Gateway[] = [];

  private constructor(cluster: Cluster) {
    this.cluster = cluster;
    this.certificate = selfSignedIn(this.folder, ["localhost", "127.0.0.1"]);
    this.starting = () => cluster.start();
    this.database = this.directory.add(
      new MemoryDatabase("db_app", "app", "app", {
        start: async (term, tell) => {
          await this.starting(term, tell);
          return { host: "127.0.0.1", port: cluster.port, tls: null };
        },
        stop: () => cluster.stop(),
      }),
    );
  }

  static async create(programs: string, settings: Record<string, string> = {}): Promise<Site> {
    const site = new Site(await Cluster.create(programs, settings));
    await site.cluster.start();
    const rolpassword = await site.database.rotate("v1", PASSWORD);
    await site.cluster.admin(`CREATE ROLE app LOGIN PASSWORD '${rolpassword}'`);
    await site.cluster.admin("CREATE DATABASE app OWNER app");
    await site.cluster.stop();
    return site;
  }

  async gateway(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
    const gateway = await runGateway({
      listen: { host: "127.0.0.1", port: 0 },
      directory: this.directory.view(),
      certificate: this.certificate,
      tlsRequired: false,
      log: (line) => this.logged.push(line),
      ...options,
    });
    this.#gateways.push(gateway);
    return gateway;
  }

  /** What logs in as `app` without the password. */
  async keys(): Promise<{ clientKey: Buffer; serverKey: Buffer }> {
    const { salt } = this.database;
    const { verifier, clientKey } = await credentials("v1", PASSWORD, { salt, iterations: SCRAM_ITERATIONS });
    return { clientKey: Buffer.from(clientKey), serverKey: Buffer.from(verifier.server_key, "base64") };
  }

  /** A client of `pg`, connected. */
  async connect(
    { port }: { port: number },
    config: pg.ClientConfig = {},
    onNotice: (notice: { message?: string | undefined }) => void = () => {},
  ): Promise<pg.Client> {
    const client = new pg.Client({
      host: "127.0.0.1",
      port,
      user: "app",
      password: PASSWORD,
      database: "app",
      ...config,
    });
    client.on("error", () => {});
    client.on("notice", onNotice);
    await client.connect();
    return client;
  }

  async close(): Promise<void> {
    for (const gateway of this.#gateways) await gateway.close(0);
    await this.cluster.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function eventually(holds: () => boolean | Promise<boolean>, ms = 5_000): Promise<void> {
  const until = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > until) throw new Error(`not within ${ms} ms: ${holds}`);
    await sleep(2);
  }
}

/** How a connection that must not succeed was refused. */
export const refusalOf = (connecting: Promise<pg.Client>): Promise<{ code: string; message: string; detail: string }> =>
  connecting.then(
    async (client) => {
      await client.end();
      return { code: "connected", message: "", detail: "" };
    },
    ({ code = "", message = "", detail = "" }: pg.DatabaseError) => ({ code, message, detail }),
  );
