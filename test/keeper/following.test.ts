import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import type { StartOrder } from "../../agent/postgres/writer.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { parseLsn } from "../../postgres/lsn.ts";
import { scratch } from "../scratch.ts";
import { client, installations, orderFor, PostgresHost, until } from "./postgres-host.ts";

const dataDir = scratch("keeper");
const found = await installations();
let keeper: Keeper;

beforeAll(async () => {
  keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
});
afterAll(async () => {
  await keeper?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

describe.each(found)("PostgreSQL $version and its keeper", (installation) => {
  const id = `db_${installation.major}`;
  let host: PostgresHost;
  let first: StartOrder;

  beforeAll(async () => {
    host = await PostgresHost.make({ installation });
  });
  afterAll(() => host?.close());

  test("a new database: created, seeded, followed; a commit is on the keeper's disk when it is acknowledged", async () => {
    first = await orderFor(id, 1, [keeper]);
    const started = await host.start(first);
    expect(started.rung).toBe(3);
    const sql = await client(first);
    await sql.query("CREATE TABLE t (i int)");
    await sql.query("INSERT INTO t VALUES (1)");
    const [row] = await sql.query("SELECT pg_current_wal_insert_lsn() AS lsn");
    const status = await new KeeperClient(keeper, id).status();
    expect(status).toMatchObject({ promised_term: 1, writer_term: 1, timeline: 1, restorable: true });
    expect(status.following).toMatchObject({ state: "streaming", term: 1, reason: null });
    expect(parseLsn(status.flush_lsn ?? "")).toBeGreaterThanOrEqual(parseLsn(row?.lsn ?? "") - 8192n);
    sql.end();

    const headers = { authorization: `Bearer ${keeper.token}` };
    const metrics = await (await fetch(`${keeper.url}/metrics`, { headers })).text();
    const value = (name: string) => {
      const line = metrics.split("\n").find((each) => each.startsWith(`lamplighter_keeper_${name} `));
      return Number(line?.split(" ").at(-1));
    };
    expect(value('databases{state="streaming"}')).toBe(1);
    expect(value("databases_not_restorable")).toBe(0);
    expect(value("log_bytes_total")).toBeGreaterThan(100);
    expect(value("sync_seconds_count")).toBeGreaterThan(0);
    expect(value('sync_seconds_bucket{le="+Inf"}')).toBe(value("sync_seconds_count"));
    expect(value("free_bytes")).toBeGreaterThan(1e6);
  });

  test("a session may ask for any strength of commits: none waits for what a keeper never does", async () => {
    const sql = await client(first);
    for (const strength of ["remote_apply", "remote_write", "on"]) {
      await sql.query(`SET synchronous_commit = ${strength}; CREATE TABLE ${strength}_table (i int)`);
      const [row] = await sql.query("SELECT pg_current_wal_insert_lsn() AS lsn");
      if (strength === "remote_write") continue;
      const { flush_lsn } = await new KeeperClient(keeper, id).status();
      expect(parseLsn(flush_lsn ?? ""), strength).toBeGreaterThanOrEqual(parseLsn(row?.lsn ?? "") - 8192n);
    }
    sql.end();
  });

  test("stopped: the last that the keeper has is the shutdown checkpoint", async () => {
    const { clean } = await host.writers.stop(first);
    expect(clean).toBe(true);
    const local = await host.writers.cluster(id).local();
    const after = await new KeeperClient(keeper, id).status();
    expect(after.following.state).toBe("off");
    // So a copy can be seen to be complete.
    expect(parseLsn(after.flush_lsn ?? "")).toBe(local?.state === "clean" && local.end);
  });

  test("stopped and started again: the copy is complete, and nothing is fetched", async () => {
    const order = await orderFor(id, 2, [keeper]);
    const started = await host.start(order);
    expect(started).toMatchObject({ rung: 3, restoredBytes: 0 });
    const sql = await client(order);
    expect(await sql.query("SELECT i FROM t")).toEqual([{ i: "1" }]);
    await sql.query("INSERT INTO t VALUES (2)");
    sql.end();
    // The same order once more finds it running.
    expect(await host.start(order)).toMatchObject({ rung: 1 });
  });

  test("killed and started under the next term: crash recovery, on the same timeline", async () => {
    await host.crash(id);
    const order = await orderFor(id, 3, [keeper]);
    const started = await host.start(order);
    expect(started).toMatchObject({ rung: 5, restoredBytes: 0 });
    const sql = await client(order);
    expect(await sql.query("SELECT i FROM t ORDER BY i")).toEqual([{ i: "1" }, { i: "2" }]);
    await sql.query("INSERT INTO t VALUES (3)");
    sql.end();
    expect(await new KeeperClient(keeper, id).status()).toMatchObject({ writer_term: 3, timeline: 1 });
  });

  test("wiped and started: restored from the keeper, on a new timeline that the keeper follows", async () => {
    await host.wipe(id);
    const order = await orderFor(id, 4, [keeper]);
    const started = await host.start(order);
    expect(started.rung).toBe(7);
    const sql = await client(order);
    expect(await sql.query("SELECT i FROM t ORDER BY i")).toEqual([{ i: "1" }, { i: "2" }, { i: "3" }]);
    await sql.query("INSERT INTO t VALUES (4)");
    sql.end();
    await until("the keeper is on timeline 2", async () => {
      const { timeline, writer_term } = await new KeeperClient(keeper, id).status();
      return timeline === 2 && writer_term === 4;
    });
    await host.writers.stop(order);
    rmSync(join(host.root, "clusters", id), { recursive: true });
    const again = await orderFor(id, 5, [keeper]);
    await host.start(again);
    const sql2 = await client(again);
    expect(await sql2.query("SELECT count(*) AS n FROM t")).toEqual([{ n: "4" }]);
    sql2.end();
  });
});
