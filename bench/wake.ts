import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { databaseAccount } from "../agent/postgres/account.ts";
import { Postmaster } from "../agent/postgres/postmaster.ts";
import { DatabaseSite, type Made } from "../test/end-to-end/database-site.ts";
import { installationForTests } from "../test/keeper/postgres-host.ts";
import { distribution } from "./distribution.ts";
import { atMost, compared, type Figure } from "./figure.ts";

export const wake: Figure = {
  name: "wake",
  about: "a client's first connection to a sleeping database, through gateway, control plane, agent and keeper",
  measure: async ({ quick, say, after }) => {
    const installation = await installationForTests().catch(() => null);
    if (installation === null) return { leftOut: "there is no PostgreSQL on this machine" };
    const site = await DatabaseSite.start();
    after(() => site.close());
    const made = await site.create({ name: "bench" });
    await firstRow(made, site.gateway.port);
    const ours: number[] = [];
    const bare: number[] = [];
    const phases: Record<string, number[]> = {};
    for (let round = 0; round < (quick ? 2 : 7); round++) {
      await site.state(made.id, "stopped");
      while (await site.isRunning("one", made.id)) await sleep(20);
      bare.push(await alone(made, site.folder("one", made.id)));
      // What the last one left to be written is no part of the next.
      await sleep(300);
      const ms = await firstRow(made, site.gateway.port);
      ours.push(ms);
      const start = (await site.view(made.id)).last_start;
      const all = { ...start?.phases, "gateway and client": ms - (start?.ms ?? 0) };
      for (const [phase, value] of Object.entries(all)) phases[phase] = [...(phases[phase] ?? []), value];
    }
    for (const [phase, values] of Object.entries(phases)) say(`${phase}: ${distribution(values).p50.toFixed(1)} ms`);
    const added = distribution(ours.map((ms, i) => ms - (bare[i] ?? 0)));
    const plain = { ...distribution(bare), what: "`postgres` on the same data folder, to first row" };
    return [
      compared("first connection to first row", "ms", distribution(ours), plain, 1.5),
      { what: "what waking adds to `postgres`", unit: "ms", ours: added, goal: atMost(60, "ms", added.p50) },
    ];
  },
};

async function firstRow({ role, name, password }: Made, port: number): Promise<number> {
  const from = performance.now();
  const client = new pg.Client({ host: "127.0.0.1", port, user: role, password, database: name, ssl: false });
  await client.connect();
  await client.query("SELECT 1");
  const ms = performance.now() - from;
  await client.end();
  return ms;
}

/** The same programs, data folder and settings, with no synchronous standby: from the spawn to the first row. */
async function alone(made: Made, folder: string): Promise<number> {
  const configFile = join(folder, "postgresql.conf");
  const settings = readFileSync(configFile, "utf8");
  const read = (name: string): string => new RegExp(`^${name} = '(.*)'$`, "m").exec(settings)?.[1] ?? "";
  const [socketFolder, port] = [read("unix_socket_directories"), Number(read("port"))];
  const account = await databaseAccount();
  const from = performance.now();
  const postmaster = await Postmaster.start(
    await installationForTests(),
    { pgdata: join(folder, "pgdata"), port, socketFolder },
    {
      ...{ configFile, logFile: join(folder, "postgresql.log"), account, folders: [folder, dirname(socketFolder)] },
      settings: { synchronous_standby_names: "" },
    },
  );
  const connection = await postmaster.ready(30_000).catch((error: Error) => {
    throw new Error(`${error.message}: ${readFileSync(join(folder, "postgresql.log"), "utf8").slice(-1000)}`);
  });
  connection.end();
  await firstRow(made, port);
  const ms = performance.now() - from;
  await postmaster.stop();
  return ms;
}
