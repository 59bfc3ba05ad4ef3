// A control plane, a host with PostgreSQL, a keeper and a gateway, all real; and clients of databases.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { Cluster as DatabaseCluster } from "../../agent/postgres/cluster.ts";
import { killCluster, runningOn } from "../../agent/postgres/postmaster.ts";
import type { DatabaseView } from "../../contract/database.ts";
import { type Gateway, runGateway } from "../../gateway/main.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { scratch } from "../scratch.ts";
import { until } from "./client.ts";
import { Cluster, type HostSpec } from "./cluster.ts";
import type { Entrance } from "./database-load.ts";

export type Made = DatabaseView & { password: string; dsn: string };

export class DatabaseSite {
  readonly cluster: Cluster;
  readonly keeperFolder: string;
  keeper: Keeper;
  readonly gateway: Gateway;
  readonly #clients = new Set<pg.Client>();

  static async start({
    hosts = [{ name: "one", runtimes: ["postgres"] }] as HostSpec[],
    lostAfterMs = 60_000,
    /** Where the keeper listens. */
    keeperHost = "127.0.0.1",
  } = {}) {
    const keeperFolder = scratch("keeper");
    const keeper = await runKeeper({ dataDir: keeperFolder, listen: { host: keeperHost, port: 0 } });
    const { host, protocol } = new URL(keeper.url);
    const pin = keeper.fingerprint === undefined ? "" : `#${keeper.fingerprint}`;
    const variables = { KEEPERS: `keeper=${protocol}//:${keeper.token}@${host}${pin}` };
    const cluster = await Cluster.start(hosts, { variables, lostAfterMs });
    const gateway = await runGateway({
      listen: { host: "127.0.0.1", port: 0 },
      directory: { url: cluster.url, token: cluster.token },
      certificate: null,
      tlsRequired: false,
      name: "gate",
      lingerMs: 1_000,
    });
    return new DatabaseSite(cluster, keeperFolder, keeper, gateway);
  }

  private constructor(cluster: Cluster, keeperFolder: string, keeper: Keeper, gateway: Gateway) {
    this.cluster = cluster;
    this.keeperFolder = keeperFolder;
    this.keeper = keeper;
    this.gateway = gateway;
  }

  /** Runs the keeper again, where the control plane has it. */
  async startKeeper(): Promise<void> {
    const listen = { host: "127.0.0.1", port: Number(new URL(this.keeper.url).port) };
    this.keeper = await runKeeper({ dataDir: this.keeperFolder, listen });
  }

  async create(body: { name: string } & Record<string, unknown>): Promise<Made> {
    const answer = await this.cluster.client.send("POST", "/databases", {
      body: { idle_timeout: 5, ...body },
      headers: { prefer: "wait=10" },
    });
    if (answer.status !== 201) throw new Error(`${answer.status} ${answer.text}`);
    return JSON.parse(answer.text) as Made;
  }

  view(id: string): Promise<DatabaseView> {
    return this.cluster.client.json(`/databases/${id}`);
  }

  async state(id: string, ...states: string[]): Promise<DatabaseView> {
    let last: DatabaseView | null = null;
    await until(
      () => `${id} is not ${states.join(" or ")} but ${last?.state}: ${last?.message}\n${this.logs()}`,
      async () => {
        last = await this.view(id);
        return states.includes(last.state);
      },
      40_000,
    );
    return last as unknown as DatabaseView;
  }

  async connect({ role, name, password }: Pick<Made, "role" | "name" | "password">, more = {}): Promise<pg.Client> {
    const client = new pg.Client({
      ...{ host: "127.0.0.1", port: this.gateway.port, user: role, password, database: name, ssl: false },
      ...{ application_name: "test", connectionTimeoutMillis: 20_000, ...more },
    });
    client.on("error", () => {});
    await client.connect();
    this.#clients.add(client);
    return client;
  }

  async end(client: pg.Client): Promise<void> {
    this.#clients.delete(client);
    await client.end();
  }

  /** For a load on one of them. */
  entrance(made: Made): Entrance {
    const within = (connectionTimeoutMillis = 20_000) => this.connect(made, { connectionTimeoutMillis });
    return { connect: within, end: (client) => this.end(client) };
  }

  /** Where a host has what it keeps of a database. */
  folder(host: string, id: string): string {
    return join(this.cluster.folder, host, "postgres", "clusters", id);
  }

  async isRunning(host: string, id: string): Promise<boolean> {
    return (await runningOn(join(this.folder(host, id), "pgdata"))) !== null;
  }

  /** kill -9 of PostgreSQL. */
  async killWriter(host: string, id: string): Promise<void> {
    const pgdata = join(this.folder(host, id), "pgdata");
    const pid = await runningOn(pgdata);
    if (pid) await killCluster(pgdata, pid);
  }

  logs(): string {
    return this.cluster.names.map((name) => this.cluster.logTail(name)).join("\n");
  }

  async close(): Promise<void> {
    for (const client of this.#clients) await client.end().catch(() => {});
    await this.gateway.close(0);
    for (const name of this.cluster.names) {
      await this.cluster.killAgent(name);
      const root = join(this.cluster.folder, name, "postgres");
      if (!existsSync(join(root, "clusters"))) continue;
      for (const id of readdirSync(join(root, "clusters"))) {
        const { pgdata, socketFolder } = new DatabaseCluster(root, id, null);
        const pid = await runningOn(pgdata);
        if (pid) await killCluster(pgdata, pid);
        rmSync(socketFolder, { recursive: true, force: true });
      }
    }
    // A test that failed may have left it closed.
    await this.keeper.close().catch(() => {});
    await sleep(50);
    await this.cluster.close();
  }
}
