// A host with PostgreSQL on it, as an agent has it, without the agent; and clients of its databases.

import { existsSync, renameSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { databaseAccount } from "../../agent/postgres/account.ts";
import { findInstallations, type Installation } from "../../agent/postgres/binaries.ts";
import { embeddedInstallation } from "../../agent/postgres/embedded.ts";
import type { WriterLimits } from "../../agent/postgres/limits.ts";
import { Template } from "../../agent/postgres/template.ts";
import { type StartOrder, Writers, type WritersOptions } from "../../agent/postgres/writer.ts";
import type { KeeperAddress } from "../../contract/writer.ts";
import { Connection } from "../../postgres/connection.ts";
import { scramVerifier } from "../../postgres/scram-client.ts";
import { freePort } from "../free-port.ts";
import { scratch } from "../scratch.ts";

export const PASSWORD = "correct horse";

const ownInstallations = (): Promise<Installation[]> =>
  process.env.LAMPLIGHTER_POSTGRES === "package" ? Promise.resolve([]) : findInstallations();

/** The host's own versions of PostgreSQL, and the package's. LAMPLIGHTER_POSTGRES=package leaves out the host's. */
export async function installations(): Promise<Installation[]> {
  const packaged = await embeddedInstallation(workshopFolder());
  return [...(await ownInstallations()), ...(packaged === null ? [] : [packaged])];
}

/** What is used when nothing else is asked for. */
export async function installationForTests(): Promise<Installation> {
  const found = (await ownInstallations())[0] ?? (await embeddedInstallation(workshopFolder()));
  if (found === null) throw new Error("there is no PostgreSQL: apt-get install postgresql, or npm ci");
  return found;
}

let workshop: string | null = null;
/** One for all hosts of a file: two of them would be in each other's way in one folder. */
let template: Template | null = null;

/** Where what is made once for all tests of a file is kept. */
export function workshopFolder(): string {
  workshop ??= scratch("workshop");
  return workshop;
}

export class PostgresHost {
  readonly root: string;
  readonly writers: Writers;
  readonly #orders = new Map<string, StartOrder>();
  #gone = 0;

  static async make(
    options: {
      startTimeoutMs?: number;
      log?: (line: string) => void;
      installation?: Installation;
      limits?: WriterLimits;
      noted?: WritersOptions["noted"];
      installations?: WritersOptions["installations"];
    } = {},
  ): Promise<PostgresHost> {
    const installation = options.installation ?? (await installationForTests());
    const account = await databaseAccount();
    template ??= new Template(workshopFolder(), account);
    await template.prepare(installation);
    const root = scratch("host");
    const { startTimeoutMs = 20_000, log = () => {}, limits, noted, installations } = options;
    const own = {
      root,
      account,
      installation: () => installation,
      installations,
      template,
      limits,
      log,
      noted,
      startTimeoutMs,
    };
    return new PostgresHost(root, new Writers(own));
  }

  private constructor(root: string, writers: Writers) {
    this.root = root;
    this.writers = writers;
  }

  async start(order: StartOrder, told?: (progress: string) => void) {
    this.#orders.set(order.database, order);
    return this.writers.start(order, undefined, told);
  }

  /** The host as it is after its disk was lost. */
  async wipe(database: string): Promise<void> {
    await this.crash(database);
    const folder = join(this.root, "clusters", database);
    const gone = join(this.root, `gone-${this.#gone++}`);
    if (!existsSync(folder)) return;
    // A thousand files; nobody has to wait until all of them are unlinked.
    renameSync(folder, gone);
    void rm(gone, { recursive: true, force: true }).catch(() => {});
  }

  /** kill -9 of PostgreSQL. */
  async crash(database: string): Promise<void> {
    const order = this.#orders.get(database);
    if (order === undefined || !existsSync(this.writers.cluster(database).folder)) return;
    const { killCluster } = await import("../../agent/postgres/postmaster.ts");
    const running = await this.writers.running(order);
    if (running) await killCluster(this.writers.cluster(database).pgdata, running.pid);
  }

  async close(): Promise<void> {
    for (const database of this.#orders.keys()) {
      await this.crash(database).catch(() => {});
      await rm(this.writers.cluster(database).socketFolder, { recursive: true, force: true });
    }
    this.writers.close();
    await rm(this.root, { recursive: true, force: true, maxRetries: 5 });
  }
}

export async function orderFor(
  database: string,
  term: number,
  keepers: readonly KeeperAddress[],
  more: Partial<StartOrder> = {},
): Promise<StartOrder> {
  return {
    ...{ database, term, served_term: term - 1, profile: "L1", keepers: [...keepers] },
    quorum: Math.ceil(keepers.length / 2),
    naming: { name: "shop", owner: { role: "shop_owner", verifier: await verifier() } },
    ...{ replication_password: "of the keepers", listen: { host: "127.0.0.1", port: await freePort() } },
    ...more,
  };
}

let kept: Promise<string> | null = null;
export const verifier = (): Promise<string> => {
  kept ??= scramVerifier(PASSWORD);
  return kept;
};

export function client(order: StartOrder, parameters: Record<string, string> = {}): Promise<Connection> {
  const { listen, naming } = order;
  return Connection.open({
    ...{ host: listen.host, port: listen.port, user: naming.owner.role, password: PASSWORD, database: naming.name },
    parameters,
  });
}

/** Until something is so. */
export async function until(what: string, check: () => Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  for (let last: unknown = null; ; ) {
    try {
      if (await check()) return;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
