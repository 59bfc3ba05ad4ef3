import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import type { StartOrder } from "../../agent/postgres/writer.ts";
import { random } from "../random.ts";
import { Commits, makeTable, missingRows } from "./commits.ts";
import { KeeperProcess } from "./keeper-process.ts";
import { client, orderFor, PostgresHost, scratch, until } from "./postgres-host.ts";

const ROUNDS = Number(process.env.LAMPLIGHTER_LOSS_ROUNDS ?? 10);
const SEED = Number(process.env.LAMPLIGHTER_SEED ?? Math.floor(Math.random() * 1e9));
const DATABASE = "db_loss";

const FAULTS = [
  "postgres is killed",
  "the keeper is killed, and comes back",
  "both are killed",
  "the host's disk is lost",
  "the host's disk is lost while the keeper is dead",
  "a clean stop",
] as const;

const dataDir = scratch("keeper");
let keeper: KeeperProcess;
let host: PostgresHost;
let rnd = random(SEED);

beforeAll(async () => {
  console.log(`LAMPLIGHTER_SEED=${SEED} LAMPLIGHTER_LOSS_ROUNDS=${ROUNDS} replays these choices`);
  host = await PostgresHost.make(process.env.LAMPLIGHTER_LOUD ? { log: (line) => console.log(line) } : {});
  // Small, so that base backups and retention are in the middle of it too.
  keeper = new KeeperProcess({ dataDir, retention: { bases: 2, windowMs: 0, baseEveryBytes: 48 * 1024 ** 2 } });
  await keeper.start();
});
afterAll(async () => {
  await host?.close();
  await keeper?.kill();
  rmSync(dataDir, { recursive: true, force: true });
});

test(`${ROUNDS} rounds of a fault under concurrent commits: every acknowledged commit is there`, {
  timeout: 60_000 + ROUNDS * 20_000,
}, async () => {
  rnd = random(SEED);
  const commits = new Commits();
  let term = 1;
  let order = await orderFor(DATABASE, term, [keeper.address]);
  await host.start(order);
  await makeTable(order);
  const rungs: Record<string, number> = {};
  for (let round = 1; round <= ROUNDS; round++) {
    await commits.begin(order, 4);
    await sleep(50 + rnd.int(400));
    if (rnd.chance(0.4)) await switchSegment(order);
    const fault = rnd.pick(FAULTS);
    const before = commits.acknowledged.size;
    if (process.env.LAMPLIGHTER_LOUD)
      console.log(`round ${round}: ${fault}`, await new KeeperClient(keeper.address, DATABASE).status());
    if (fault === "the keeper is killed, and comes back") await withoutKeeper(commits, order);
    else await strike(fault, order);
    await commits.end();
    if (fault !== "the keeper is killed, and comes back") {
      term++;
      order = await orderFor(DATABASE, term, [keeper.address]);
      const { rung, why } = await host.start(order);
      rungs[rung] = (rungs[rung] ?? 0) + 1;
      expect(why, fault).not.toBe("it has never been written to");
    }
    const missing = await missingRows(order, commits.acknowledged);
    expect(missing, `round ${round}, after ${before} commits: ${fault}`).toEqual([]);
  }
  console.log(
    `${commits.acknowledged.size} acknowledged commits, none missing; starts by rung: ${JSON.stringify(rungs)}`,
  );
});

async function strike(fault: (typeof FAULTS)[number], order: StartOrder): Promise<void> {
  switch (fault) {
    case "postgres is killed":
      return host.crash(DATABASE);
    case "both are killed":
      await Promise.all(
        rnd.chance(0.5) ? [keeper.kill(), host.crash(DATABASE)] : [host.crash(DATABASE), keeper.kill()],
      );
      return keeper.start();
    case "the host's disk is lost":
      return host.wipe(DATABASE);
    case "the host's disk is lost while the keeper is dead":
      await keeper.kill();
      await host.wipe(DATABASE);
      return keeper.start();
    case "a clean stop":
      await host.writers.stop(order);
      if (rnd.chance(0.3)) await host.wipe(DATABASE);
      return;
    case "the keeper is killed, and comes back":
      throw new Error("that leaves the writer running");
  }
}

/** While there is no keeper nothing is acknowledged; once it is back, what waited is. */
async function withoutKeeper(commits: Commits, order: StartOrder): Promise<void> {
  await keeper.kill();
  await sleep(30);
  const then = commits.acknowledged.size;
  await sleep(150);
  expect(commits.acknowledged.size).toBe(then);
  await keeper.start();
  await until("commits are acknowledged again", async () => commits.acknowledged.size > then);
  const { following } = await new KeeperClient(keeper.address, DATABASE).status();
  expect(following).toMatchObject({ state: "streaming", term: order.term });
}

async function switchSegment(order: StartOrder): Promise<void> {
  const postmaster = await host.writers.running(order);
  const connection = await postmaster?.connect("postgres");
  await connection?.query("SELECT pg_switch_wal()");
  connection?.end();
  const own = await client(order);
  own.end();
}
