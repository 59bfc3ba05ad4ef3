// Every part of the way to a database is killed at random while clients commit through the gateways: what was acknowledged is there.
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cluster as DatabaseCluster } from "../../agent/postgres/cluster.ts";
import { killCluster, runningOn } from "../../agent/postgres/postmaster.ts";
import type { DatabaseView } from "../../contract/database.ts";
import { type GatewayProcess, startGateway } from "../gateway/gateway-process.ts";
import { KeeperProcess } from "../keeper/keeper-process.ts";
import { random } from "../random.ts";
import { rounds } from "../rounds.ts";
import { scratch } from "../scratch.ts";
import { Cluster } from "./cluster.ts";
import { DatabaseLoad } from "./database-load.ts";

const ROUNDS = Math.ceil(rounds(10) * 0.4);
const SEED = Number(process.env.LAMPLIGHTER_SEED ?? Math.floor(Math.random() * 1e9));
const GATEWAYS = 2;
const CLIENTS = 6;
const HOST = "one";

const PARTS = ["postgres", "agent", "control plane", "gateway", "keeper", "data folder"] as const;
type Part = (typeof PARTS)[number];

const rnd = random(SEED);
const gateways: GatewayProcess[] = [];
const load = new DatabaseLoad({ connect, end: (client) => client.end() });
let cluster: Cluster;
let keeper: KeeperProcess;
let made: DatabaseView & { password: string };

beforeAll(async () => {
  console.log(`LAMPLIGHTER_SEED=${SEED} LAMPLIGHTER_CHAOS_ROUNDS=${Math.round(ROUNDS / 0.4)} replays these choices`);
  keeper = new KeeperProcess({ dataDir: scratch("keeper"), name: "keeper" });
  await keeper.start();
  const { url, token } = keeper.address;
  const variables = { KEEPERS: `keeper=${url.replace("//", `//:${token}@`)}` };
  cluster = await Cluster.start([{ name: HOST, runtimes: ["postgres"] }], { variables });
  for (let i = 0; i < GATEWAYS; i++) gateways.push(await openGateway());
  const answer = await cluster.client.send("POST", "/databases", {
    body: { name: "loss", idle_timeout: 0 },
    headers: { prefer: "wait=10" },
  });
  expect(answer.status, answer.text).toBe(201);
  made = JSON.parse(answer.text);
  const client = await connect(60_000);
  await client.query("CREATE TABLE load (n int PRIMARY KEY)");
  await client.end();
});

afterAll(async () => {
  for (const { child } of gateways) child.kill("SIGKILL");
  await cluster?.killAgent(HOST);
  if (made) {
    await killPostgres();
    await rm(database().socketFolder, { recursive: true, force: true });
  }
  await keeper?.kill();
  await cluster?.close();
});

test(`${ROUNDS} rounds of one or two parts killed under concurrent commits: every acknowledged commit is there`, {
  timeout: 60_000 + ROUNDS * 60_000,
}, async () => {
  for (let round = 1; round <= ROUNDS; round++) {
    // Each part has its turn, whatever else falls with it.
    const first = PARTS[(SEED + round) % PARTS.length] as Part;
    const parts = rnd.chance(0.5) ? [first] : [...new Set([first, rnd.pick(PARTS)])];
    const before = load.acknowledged.size;
    load.write(CLIENTS, 0);
    await sleep(100 + rnd.int(400));
    await Promise.all(parts.map((part) => strike(part, rnd.int(150), rnd.int(700))));
    await sleep(rnd.int(500));
    await load.end();
    const missing = await missingRows();
    expect(
      missing,
      `round ${round}, ${before} commits before: ${parts.join(" and ")}\n${cluster.logTail(HOST)}`,
    ).toEqual([]);
  }
  expect(load.acknowledged.size).toBeGreaterThan(ROUNDS * CLIENTS);
  console.log(`${ROUNDS} rounds, ${load.acknowledged.size} acknowledged commits, none missing`);
});

/** kill -9 after a while, and started again after another. */
async function strike(part: Part, afterMs: number, awayMs: number): Promise<void> {
  await sleep(afterMs);
  switch (part) {
    case "postgres":
      return killPostgres();
    case "data folder":
      await killPostgres();
      return rm(database().folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    case "agent":
      await cluster.killAgent(HOST);
      await sleep(awayMs);
      return cluster.startAgent(HOST);
    case "control plane":
      await cluster.killPlane();
      await sleep(awayMs);
      return cluster.startPlane();
    case "keeper":
      await keeper.kill();
      await sleep(awayMs);
      return keeper.start();
    case "gateway": {
      const at = rnd.int(gateways.length);
      const { child, exited, port } = gateways[at] as GatewayProcess;
      child.kill("SIGKILL");
      await exited;
      await sleep(awayMs);
      gateways[at] = await openGateway(port);
    }
  }
}

const openGateway = (port = 0): Promise<GatewayProcess> =>
  startGateway(cluster, join(cluster.folder, "marks"), "--tls", "off", "--listen", `127.0.0.1:${port}`);

const database = () => new DatabaseCluster(join(cluster.folder, HOST, "postgres"), made.id, null);

async function killPostgres(): Promise<void> {
  const { pgdata } = database();
  const pid = existsSync(pgdata) ? await runningOn(pgdata) : null;
  if (pid !== null) await killCluster(pgdata, pid);
}

async function connect(timeoutMs = 5_000): Promise<pg.Client> {
  const { role: user, name: database, password } = made;
  const { port } = rnd.pick(gateways);
  const client = new pg.Client({
    ...{ host: "127.0.0.1", port, user, password, database, ssl: false },
    connectionTimeoutMillis: timeoutMs,
  });
  client.on("error", () => {});
  await client.connect();
  return client;
}

/** What is acknowledged and not there, once a client is let in again. */
async function missingRows(): Promise<number[]> {
  for (let tries = 1; ; tries++) {
    try {
      return await load.missing();
    } catch (error) {
      // The session may be one of those that what fell last takes with it.
      if (tries === 3) throw new Error(await story(), { cause: error });
      await sleep(500);
    }
  }
}

/** What has happened to the database lately. */
async function story(): Promise<string> {
  const events = await cluster.client.json<{ at: string; kind: string; message: string }[]>(
    `/databases/${made.id}/events?limit=40`,
  );
  const view = await cluster.client.json<DatabaseView>(`/databases/${made.id}`);
  return [...events.map((event) => JSON.stringify(event)), JSON.stringify(view), cluster.logTail(HOST)].join("\n");
}
