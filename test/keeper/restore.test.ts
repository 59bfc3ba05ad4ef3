import { rmSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import { StoreManifest } from "../../contract/keeper.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { FolderStore } from "../../keeper/store/folder.ts";
import { scratch } from "../scratch.ts";
import { client, orderFor, PostgresHost, until, verifier } from "./postgres-host.ts";
import { expectNoRights } from "./user-rights.ts";

const dataDir = scratch("keeper");
const store = scratch("store");
let keeper: Keeper;
let host: PostgresHost;

const startKeeper = async (): Promise<void> => {
  const port = keeper === undefined ? 0 : Number(new URL(keeper.url).port);
  keeper = await runKeeper({
    ...{ dataDir, store, token: "lamp_keeper_test", tailEveryMs: 200 },
    listen: { host: "127.0.0.1", port },
    retention: { bases: 1, windowMs: 0 },
  });
};

beforeAll(async () => {
  host = await PostgresHost.make();
  await startKeeper();
});
afterAll(async () => {
  await host?.close();
  await keeper?.close();
  for (const folder of [dataDir, store]) rmSync(folder, { recursive: true, force: true });
});

const rowsOf = async (order: Parameters<typeof client>[0]): Promise<string> => {
  const sql = await client(order);
  const rows = await sql.query("SELECT i FROM t ORDER BY i");
  sql.end();
  return rows.map(({ i }) => i).join();
};

describe("to a moment, as a new database", () => {
  test("by position and by time; the source goes on as it was", { timeout: 90_000 }, async () => {
    const source = await orderFor("db_source", 1, [keeper]);
    await host.start(source);
    const sql = await client(source);
    await sql.query("CREATE TABLE t (i int)");
    await sql.query("INSERT INTO t VALUES (1)");
    const [at] = await sql.query("SELECT pg_current_wal_insert_lsn() AS lsn");
    await sql.query("INSERT INTO t VALUES (2)");
    await sleep(50);
    const time = Date.now();
    await sleep(50);
    await sql.query("INSERT INTO t VALUES (3)");
    sql.end();

    const naming = { name: "copy", owner: { role: "copy_owner", verifier: await verifier() } };
    const copy = async (database: string, target: { lsn: string } | { time: number } | null) => {
      const order = await orderFor(database, 1, [keeper], { naming, from: { database: "db_source", target } });
      const progress: string[] = [];
      const started = await host.start(order, (text) => progress.push(text));
      return { order, started, progress };
    };
    const byPosition = await copy("db_by_position", { lsn: at?.lsn ?? "" });
    expect(await rowsOf(byPosition.order)).toBe("1");
    expect(byPosition.progress[0]).toMatch(/^restoring from a keeper: 0 of \d\d MiB$/);
    expect(byPosition.started).toMatchObject({ rung: 7, why: "it begins as another database was" });
    expect(byPosition.progress.at(-1)).toBe("restored from a keeper: replaying the log");
    const byTime = await copy("db_by_time", { time });
    expect(await rowsOf(byTime.order)).toBe("1,2");
    // Nothing was committed between the last commit and then.
    const later = await copy("db_later", { time: Date.now() });
    expect(await rowsOf(later.order)).toBe("1,2,3");
    // It is the one that is looked after, not one that ended on the way there.
    expect(await later.started.postmaster.isAlive()).toBe(true);
    expect(await Promise.race([later.started.ended.then(() => "ended"), sleep(500, "runs")])).toBe("runs");
    // What no other attempt would change.
    const never = (message: string) => ({ code: "not_restorable", message: expect.stringContaining(message) });
    await expect(copy("db_never", { lsn: "FF/0" })).rejects.toMatchObject(never("the log ends at"));
    await expect(copy("db_before", { time: time - 3600_000 })).rejects.toMatchObject(never("was taken after that"));

    // It is a database of its own: it can be written to, is kept, and nothing is left of the source's names.
    const own = await client(byTime.order);
    await own.query("INSERT INTO t VALUES (4)");
    const roles = await own.query("SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY 1");
    expect(roles.map(({ rolname }) => rolname)).toEqual(["copy_owner", "lamplighter", "lamplighter_keeper"]);
    own.end();
    expect(await new KeeperClient(keeper, "db_by_time").status()).toMatchObject({
      ...{ restorable: true, writer_term: 1 },
      following: { state: "streaming" },
    });
    expect(await rowsOf(source)).toBe("1,2,3");
    await host.wipe("db_by_time");
    const again = await orderFor("db_by_time", 2, [keeper], { naming });
    expect(await host.start(again)).toMatchObject({ rung: 7 });
    expect(await rowsOf(again)).toBe("1,2,4");
    await host.writers.stop(source);
  });
});

describe("a keeper that lost its disk", () => {
  const wipeKeeper = async (alsoLost = async () => {}): Promise<void> => {
    await keeper.close();
    await alsoLost();
    for (const each of await readdir(dataDir)) await rm(join(dataDir, each), { recursive: true });
    await startKeeper();
  };

  test("the writer's own copy is complete: it starts, and the keeper goes on from what the store has", async () => {
    await wipeKeeper();
    const before = await new KeeperClient(keeper, "db_source").status();
    // It has the log, but cannot know whether all of it.
    expect(before).toMatchObject({ restorable: true, writer_term: 0 });
    const order = await orderFor("db_source", 2, [keeper]);
    expect(await host.start(order)).toMatchObject({ rung: 3 });
    const sql = await client(order);
    await sql.query("INSERT INTO t VALUES (5)");
    sql.end();
    const status = await new KeeperClient(keeper, "db_source").status();
    expect(status).toMatchObject({ restorable: true, writer_term: 2, base: { kind: "cold" } });
    await host.writers.stop(order);
    await shipped("db_source");
  });

  test("and the store too: the keeper begins anew with a base backup, and nothing else is in the store then", async () => {
    const folder = new FolderStore(store, join(dataDir, "store-was-there"));
    await wipeKeeper(() => folder.remove("databases/db_source/keeper/manifest.json"));
    const order = await orderFor("db_source", 3, [keeper]);
    expect(await host.start(order)).toMatchObject({ rung: 3 });
    const sql = await client(order);
    await sql.query("INSERT INTO t VALUES (6)");
    sql.end();
    expect(await new KeeperClient(keeper, "db_source").status()).toMatchObject({
      ...{ restorable: true, writer_term: 3 },
      base: { kind: "hot" },
    });
    await host.writers.stop(order);
    await shipped("db_source");
    await until("what is not listed is gone", async () => {
      const text = await buffer((await folder.get("databases/db_source/keeper/manifest.json")) as Readable);
      const manifest = StoreManifest.parse(JSON.parse(text.toString()));
      const objects = [];
      for await (const each of folder.list("databases/db_source/")) objects.push(each);
      const segments = manifest.segments.reduce((sum, { first, last }) => sum + last - first + 1, 0);
      return objects.length === 1 + manifest.bases.length + segments + (manifest.tail ? 1 : 0);
    });
  });

  test("with the writer's copy: what may lack something that clients were told is started on a person's word only", async () => {
    await host.wipe("db_source");
    await wipeKeeper();
    const order = await orderFor("db_source", 4, [keeper], { served_term: 3 });
    await expect(host.start(order)).rejects.toMatchObject({ code: "not_restorable" });
    const again = { ...order, accept_loss: true };
    expect(await host.start(again)).toMatchObject({ rung: 7 });
    expect(await rowsOf(again)).toBe("1,2,3,5,6");
    await host.writers.stop(again);
  });
});

/** Until the store has all that the keeper has. */
const shipped = (database: string): Promise<void> =>
  until("the store has it", async () => {
    const { store: there, flush_lsn } = await new KeeperClient(keeper, database).status();
    return there.shipped_lsn === flush_lsn;
  });

describe("what users may do", () => {
  test("no superuser, no replication, no settings of the server, no files, no programs; and nobody runs as root", async () => {
    const order = await orderFor("db_rights", 1, [keeper]);
    const { postmaster } = await host.start(order);
    await expectNoRights(order, postmaster.pid.pid);
    await host.writers.stop(order);
  });
});
