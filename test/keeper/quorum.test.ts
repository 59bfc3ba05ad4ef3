// Three keepers of whom two acknowledge.
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import type { StartOrder } from "../../agent/postgres/writer.ts";
import type { KeptDatabase } from "../../contract/keeper.ts";
import { scratch } from "../scratch.ts";
import { Commits, makeTable, missingRows } from "./commits.ts";
import { KeeperProcess } from "./keeper-process.ts";
import { orderFor, PostgresHost, until } from "./postgres-host.ts";

const DATABASE = "db_three";
const folders = ["a", "b", "c"].map((name) => scratch(`keeper-${name}`));
const keepers = folders.map((dataDir, i) => new KeeperProcess({ dataDir, name: `keeper_${"abc"[i]}` }));
const [a, b, c] = keepers as [KeeperProcess, KeeperProcess, KeeperProcess];
const commits = new Commits();
let host: PostgresHost;
let other: PostgresHost;
let term = 0;
let served = 0;

beforeAll(async () => {
  [host, other] = await Promise.all([PostgresHost.make(), PostgresHost.make()]);
  await Promise.all(keepers.map((keeper) => keeper.start()));
});
afterAll(async () => {
  await host?.close();
  await other?.close();
  await Promise.all(keepers.map((keeper) => keeper.kill()));
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

const nextOrder = (of: readonly KeeperProcess[] = keepers) =>
  orderFor(
    DATABASE,
    ++term,
    of.map(({ address }) => address),
    { quorum: Math.min(2, of.length), served_term: served },
  );

/** Clients are let in to what was started. */
async function serve(order: StartOrder, at: PostgresHost) {
  const started = await at.start(order);
  served = order.term;
  return started;
}

const statusOf = (keeper: KeeperProcess): Promise<KeptDatabase> => new KeeperClient(keeper.address, DATABASE).status();
const streams = (keeper: KeeperProcess) =>
  until(
    `${keeper.options.name} follows`,
    async () => {
      const { following } = await statusOf(keeper);
      return following.state === "streaming" && following.term === term;
    },
    30_000,
  );

const more = async (count: number): Promise<void> => {
  const then = commits.acknowledged.size;
  await until("commits are acknowledged", async () => commits.acknowledged.size >= then + count);
};

test("one of three away: commits go on; two away: none does, and waits until one is back", async () => {
  const order = await nextOrder();
  await serve(order, host);
  await makeTable(order);
  await commits.begin(order, 3);
  await more(5);
  await a.kill();
  await more(20);
  await b.kill();
  await sleep(100);
  const then = commits.acknowledged.size;
  await sleep(300);
  expect(commits.acknowledged.size).toBe(then);
  await a.start();
  await more(20);
  await commits.end();
  await host.crash(DATABASE);
});

test("one that was away, also when the next writer began, is brought back by the agent and catches up", async () => {
  const order = await nextOrder();
  expect(await serve(order, host)).toMatchObject({ rung: 5 });
  expect(await missingRows(order, commits.acknowledged)).toEqual([]);
  await b.start();
  expect((await statusOf(b)).promised_term).toBe(1);
  await streams(b);
  await Promise.all([streams(a), streams(c)]);
});

test("too few answer: nobody can know what was acknowledged, and nothing is started", async () => {
  await host.wipe(DATABASE);
  await Promise.all([a.kill(), b.kill()]);
  await expect(host.start(await nextOrder())).rejects.toMatchObject({ code: "keepers_unreachable" });
  await Promise.all([a.start(), b.start()]);
});

test("a keeper with more than was ever acknowledged goes back to where the next writer's timeline begins", async () => {
  const order = await nextOrder();
  await serve(order, host);
  await Promise.all(keepers.map(streams));
  // What only one of them gets is not acknowledged.
  await Promise.all([a.kill(), b.kill()]);
  const alone = new Commits();
  await alone.begin(order, 2);
  await sleep(300);
  await alone.end();
  expect(alone.acknowledged.size).toBe(0);
  const ahead = await statusOf(c);
  await c.kill();
  await Promise.all([a.start(), b.start()]);
  await host.wipe(DATABASE);
  const restored = await nextOrder();
  expect(await serve(restored, other)).toMatchObject({ rung: 7 });
  expect(await missingRows(restored, commits.acknowledged)).toEqual([]);
  await commits.begin(restored, 2);
  await more(10);
  await commits.end();
  await c.start();
  expect((await statusOf(c)).flush_lsn).toBe(ahead.flush_lsn);
  await streams(c);
  expect((await statusOf(c)).timeline).toBe((await statusOf(a)).timeline);
  await other.wipe(DATABASE);
});

test("a keeper whose log is another one gives it up once two others follow, and can be restored from then", async () => {
  // A branch that only one keeper has: by its number the same timeline as that of the next restore.
  const branch = await nextOrder([c]);
  await host.start(branch);
  const aside = new Commits();
  await aside.begin(branch, 1);
  await sleep(100);
  await aside.end();
  await c.kill();
  await host.wipe(DATABASE);
  const order = await nextOrder();
  expect(await serve(order, other)).toMatchObject({ rung: 7 });
  await commits.begin(order, 2);
  await more(10);
  await c.start();
  await streams(c);
  expect(await statusOf(c)).toMatchObject({ writer_term: term, restorable: true, base: { kind: "hot" } });
  await a.kill();
  await more(10);
  await commits.end();
  await other.wipe(DATABASE);
  // Any two have what had a quorum, this one among them.
  const last = await nextOrder();
  expect(await serve(last, host)).toMatchObject({ rung: 7 });
  expect(await missingRows(last, commits.acknowledged)).toEqual([]);
});

test("a keeper that is not among a database's any more holds no log at the writer", async () => {
  await a.start();
  const order = await nextOrder([a, b]);
  await serve(order, host);
  await Promise.all([streams(a), streams(b)]);
  const slots = async () => {
    const connection = await (await host.writers.running(order))?.connect("postgres");
    const rows = await connection?.query("SELECT slot_name FROM pg_replication_slots ORDER BY 1");
    connection?.end();
    return rows?.map(({ slot_name }) => slot_name);
  };
  await until("its slot is gone", async () => (await slots())?.join() === "lamplighter_keeper_a,lamplighter_keeper_b");
});
