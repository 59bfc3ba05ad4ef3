// A keeper that is paused (SIGSTOP) keeps its connections and confirms nothing: PostgreSQL itself takes 10 s to notice.
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { StartOrder } from "../../agent/postgres/writer.ts";
import type { Note } from "../../contract/workload.ts";
import { type Gateway, runGateway } from "../../gateway/main.ts";
import { MemoryDatabase, MemoryDirectory } from "../gateway/memory-directory.ts";
import { scratch } from "../scratch.ts";
import { KeeperProcess } from "./keeper-process.ts";
import { orderFor, PASSWORD, PostgresHost, until } from "./postgres-host.ts";

const dataDir = scratch("keeper");
const keeper = new KeeperProcess({ dataDir });
const directory = new MemoryDirectory();
let notes: Note[] = [];
let host: PostgresHost;
let order: StartOrder;
let gateway: Gateway;

beforeAll(async () => {
  await keeper.start();
  host = await PostgresHost.make({
    noted: (_database, _term, now) => {
      notes = now;
    },
  });
  const start = async () => {
    await host.start(order);
    return { ...order.listen, tls: null };
  };
  const stop = async () => void (await host.writers.stop(order));
  const database = directory.add(new MemoryDatabase("db_paused", "shop_owner", "shop", { start, stop }));
  const verifier = await database.rotate("v1", PASSWORD);
  const naming = { name: "shop", owner: { role: "shop_owner", verifier } };
  order = await orderFor("db_paused", 1, [keeper.address], { naming });
  const listen = { host: "127.0.0.1", port: 0 };
  gateway = await runGateway({ listen, directory: directory.view(), certificate: null, tlsRequired: false });
});
afterEach(() => keeper.signal("SIGCONT"));
afterAll(async () => {
  await gateway?.close(0);
  await host?.close();
  await keeper.kill();
  rmSync(dataDir, { recursive: true, force: true });
});

/** What pg's types leave out. */
type Busy = pg.Client & { activeQuery: unknown };
type Canceller = { cancel(client: pg.Client, query: unknown): void };

async function connect(): Promise<Busy> {
  const { naming } = order;
  const client = new pg.Client({
    ...{ host: "127.0.0.1", port: gateway.port, user: naming.owner.role, database: naming.name, password: PASSWORD },
  });
  client.on("error", () => {});
  await client.connect();
  return client as Busy;
}

test("it is missed while nothing is sent to it, too: before a commit would wait for it", async () => {
  const client = await connect();
  // Nobody commits anything meanwhile.
  await sleep(4_500);
  expect(notes).toEqual([]);
  keeper.signal("SIGSTOP");
  const since = performance.now();
  await until("it is said", async () => notes.some(({ code }) => code === "commits_wait"));
  expect(performance.now() - since).toBeLessThan(8_500);
  expect(notes[0]?.message).toContain("does not answer");
  keeper.signal("SIGCONT");
  await until("it is over", async () => notes.length === 0);
  await client.end();
});

test("what waits for it is said within seconds, and that it is over; a cancel request does not get to a commit meanwhile", async () => {
  const client = await connect();
  await client.query("CREATE TABLE t (i int)");
  keeper.signal("SIGSTOP");
  const since = performance.now();
  const writing = client.query("INSERT INTO t VALUES (1)");
  await sleep(200);
  const other = new pg.Client({ host: "127.0.0.1", port: gateway.port }) as unknown as Canceller;
  other.cancel(client, client.activeQuery);
  await until("the cancel request is held back", async () => gateway.counters.cancels_held_total === 1);
  await until("it is said", async () => notes.some(({ code }) => code === "commits_wait"));
  expect(performance.now() - since).toBeLessThan(8_500);
  expect(notes[0]?.message).toContain("does not confirm what it was sent");
  keeper.signal("SIGCONT");
  expect((await writing).rowCount).toBe(1);
  await until("it is over", async () => notes.length === 0);
  expect((await client.query("SELECT i FROM t")).rows).toEqual([{ i: 1 }]);
  expect(gateway.counters.commits_in_doubt_total).toBe(0);
  await client.end();
});
