import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { databaseAccount } from "../agent/postgres/account.ts";
import { KeeperClient } from "../agent/postgres/keeper-client.ts";
import { Postmaster } from "../agent/postgres/postmaster.ts";
import type { StartOrder } from "../agent/postgres/writer.ts";
import { type Keeper, runKeeper } from "../keeper/main.ts";
import type { Connection } from "../postgres/connection.ts";
import { client, installationForTests, orderFor, PostgresHost } from "../test/keeper/postgres-host.ts";
import { scratch } from "../test/scratch.ts";
import { distribution } from "./distribution.ts";
import { compared, type Figure, type Setting } from "./figure.ts";

export const postgresStart: Figure = {
  name: "postgres-start",
  about: "a sleeping database's start, its commits and its restore, beside PostgreSQL without a keeper",
  measure: async (setting) => {
    const installation = await installationForTests().catch(() => null);
    if (installation === null) return { leftOut: "there is no PostgreSQL on this machine" };
    const site = await Site.make(setting);
    setting.say(`PostgreSQL ${installation.version}`);
    return [...(await starts(site, setting)), await commits(site, setting), await restores(site, setting)];
  },
};

const DATABASE = "db_bench";

/** A host, a keeper and a database; and the same data folder started by nothing but `postgres`. */
class Site {
  readonly host: PostgresHost;
  readonly keeper: Keeper;
  #term = 0;

  static async make({ after }: Setting): Promise<Site> {
    const dataDir = scratch("bench-keeper");
    const host = await PostgresHost.make();
    after(() => host.close());
    const keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
    after(async () => {
      await keeper.close();
      rmSync(dataDir, { recursive: true, force: true });
    });
    return new Site(host, keeper);
  }

  private constructor(host: PostgresHost, keeper: Keeper) {
    this.host = host;
    this.keeper = keeper;
  }

  /** From the order to the first row; the phases that the start tells of. */
  async start(): Promise<{ ms: number; order: StartOrder; phases: Record<string, number>; restoredBytes: number }> {
    const order = await orderFor(DATABASE, ++this.#term, [this.keeper]);
    const from = performance.now();
    const { phases, restoredBytes } = await this.host.start(order);
    const sql = await client(order);
    await sql.query("SELECT 1");
    const ms = performance.now() - from;
    sql.end();
    return { ms, order, phases, restoredBytes };
  }

  /** The same programs, data folder and settings, with no synchronous standby: from the spawn to the first row. */
  async bare(order: StartOrder): Promise<{ ms: number; postmaster: Postmaster }> {
    const { pgdata, configFile, logFile, folder } = this.host.writers.cluster(DATABASE);
    const installation = await installationForTests();
    const place = { pgdata, port: order.listen.port, socketFolder: join(folder, "run") };
    const account = await databaseAccount();
    const from = performance.now();
    const postmaster = await Postmaster.start(installation, place, {
      ...{ configFile, logFile, account, folders: [folder], settings: { synchronous_standby_names: "" } },
    });
    (await postmaster.ready(30_000)).end();
    const sql = await client(order);
    await sql.query("SELECT 1");
    const ms = performance.now() - from;
    sql.end();
    return { ms, postmaster };
  }
}

async function starts(site: Site, { quick, say }: Setting) {
  const { order: first } = await site.start();
  await site.host.writers.stop(first);
  const ours: number[] = [];
  const bare: number[] = [];
  const phases: Record<string, number[]> = {};
  for (let round = 0; round < (quick ? 3 : 20); round++) {
    const started = await site.start();
    ours.push(started.ms);
    for (const [phase, ms] of Object.entries(started.phases)) phases[phase] = [...(phases[phase] ?? []), ms];
    await site.host.writers.stop(started.order);
    const alone = await site.bare(started.order);
    bare.push(alone.ms);
    await alone.postmaster.stop();
  }
  for (const [phase, values] of Object.entries(phases)) say(`${phase}: ${distribution(values).p50.toFixed(1)} ms`);
  const added = distribution(ours.map((ms, i) => ms - (bare[i] ?? 0)));
  return [
    compared(
      "start order to first row, copy on the host",
      "ms",
      distribution(ours),
      {
        ...distribution(bare),
        what: "`postgres` to first row",
      },
      1.5,
    ),
    {
      what: "what the start adds to `postgres`",
      unit: "ms",
      ours: added,
      goal: { text: "p50 ≤ 60 ms", met: added.p50 <= 60 },
    },
  ];
}

async function commits(site: Site, { quick }: Setting) {
  const batches = quick ? 2 : 10;
  const ours: number[] = [];
  const bare: number[] = [];
  const { order } = await site.start();
  const sql = await client(order);
  await sql.query("CREATE TABLE IF NOT EXISTS commits (at int)");
  for (let batch = 0; batch < batches; batch++) {
    // In turn, in the same server: a session may do without the keeper at its own risk.
    await sql.query("SET synchronous_commit = local");
    bare.push(...(await inserts(sql)));
    await sql.query("SET synchronous_commit = on");
    ours.push(...(await inserts(sql)));
  }
  sql.end();
  await site.host.writers.stop(order);
  return compared("one client's commit, kept by a keeper", "ms", distribution(ours), {
    ...distribution(bare),
    what: "on the writer's disk only",
  });
}

async function inserts(sql: Connection): Promise<number[]> {
  const taken: number[] = [];
  for (let i = 0; i < 50; i++) {
    const from = performance.now();
    await sql.query("INSERT INTO commits VALUES (1)");
    taken.push(performance.now() - from);
  }
  return taken;
}

async function restores(site: Site, { quick, say }: Setting) {
  const { order } = await site.start();
  const sql = await client(order);
  await sql.query(`CREATE TABLE filler AS SELECT i, md5(i::text) AS a, md5((i + 1)::text) AS b
                   FROM generate_series(1, ${quick ? 100_000 : 1_000_000}) AS i`);
  sql.end();
  await new KeeperClient(site.keeper, DATABASE).takeBase();
  await site.host.writers.stop(order);
  const { folder, pgdata } = site.host.writers.cluster(DATABASE);
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < (quick ? 1 : 4); round++) {
    const from = performance.now();
    execFileSync("cp", ["-R", "--reflink=never", pgdata, join(folder, "copy")]);
    // What is restored is on disk before anybody reads it.
    execFileSync("sync", ["-f", join(folder, "copy")]);
    const copied = performance.now() - from;
    rmSync(join(folder, "copy"), { recursive: true, force: true });
    await site.host.wipe(DATABASE);
    const restored = await site.start();
    const megabytes = restored.restoredBytes / 1024 ** 2;
    ours.push(megabytes / (restored.ms / 1000));
    bare.push(megabytes / (copied / 1000));
    if (round === 0) say(`${megabytes.toFixed(0)} MB, ${restored.ms.toFixed(0)} ms`);
    await site.host.writers.stop(restored.order);
  }
  return compared("restore on a fresh host, order to first row", "MB/s", distribution(ours), {
    ...distribution(bare),
    what: "`cp -R` of the data folder, and `sync`",
  });
}
