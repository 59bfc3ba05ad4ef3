// What may go wrong around a database: nobody hangs for ever, nothing acknowledged is lost, the API says what is the matter, and it passes.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { killCluster, runningOn } from "../../agent/postgres/postmaster.ts";
import type { DatabaseView, LeaseView } from "../../contract/database.ts";
import { requires } from "../requires.ts";
import { SmallDisk } from "../small-disk.ts";
import { until } from "./client.ts";
import { DatabaseSite, type Made } from "./database-site.ts";

const mounts = await requires("mounts");

let site: DatabaseSite;
beforeAll(async () => {
  site = await DatabaseSite.start();
});
afterAll(() => site?.close());

/** Waits until the API gives a database's condition this name. */
async function says(id: string, ...reasons: string[]): Promise<DatabaseView> {
  let last: DatabaseView | null = null;
  await until(
    () => `${id} does not say ${reasons.join(" or ")} but ${last?.reason}: ${last?.message}\n${site.logs()}`,
    async () => {
      last = await site.view(id);
      return reasons.includes(last.reason);
    },
    30_000,
  );
  return last as unknown as DatabaseView;
}

const journal = async (id: string): Promise<string[]> =>
  (await site.cluster.client.events(`/databases/${id}`)).map(({ reason }) => reason);

const numbers = async (client: Client): Promise<number[]> =>
  ((await client.query("SELECT n FROM t ORDER BY n")).rows as { n: number }[]).map(({ n }) => n);

/** What a connection came to: nothing, or how it was refused. */
const refusalOf = (made: Made): Promise<{ code?: string; message: string; detail?: string } | null> =>
  site.connect(made, { connectionTimeoutMillis: 70_000 }).then(
    async (client) => {
      await site.end(client);
      return null;
    },
    (error: Error & { code?: string; detail?: string }) => error,
  );

async function eventuallyIn(made: Made): Promise<Client> {
  for (let tries = 0; ; tries++) {
    const client = await site.connect(made, { connectionTimeoutMillis: 70_000 }).catch((error: Error) => error);
    if (!(client instanceof Error)) return client;
    if (tries > 40) throw client;
    await sleep(500);
  }
}

test("a keeper that is down: reads go on, commits wait and are not lost, and the API says so until it is back", async () => {
  const made = await site.create({ name: "lonely", idle_timeout: 60 });
  const client = await site.connect(made);
  await client.query("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
  const reader = await site.connect(made);
  await site.keeper.close();
  const writing = client.query("INSERT INTO t VALUES (2)");
  const view = await says(made.id, "commits_wait");
  expect([view.state, view.message]).toEqual(["ready", expect.stringContaining("0 of 1 keepers follow")]);
  expect((await site.cluster.client.json<LeaseView[]>(`/databases/${made.id}/leases`))[0]?.connected).toBe(true);
  expect(await numbers(reader)).toEqual([1]);
  await site.startKeeper();
  await writing;
  await says(made.id, "ready");
  expect(await journal(made.id)).toEqual(expect.arrayContaining(["commits_wait", "commits_wait_over"]));
  expect(await numbers(reader)).toEqual([1, 2]);
  await site.end(reader);
  await site.end(client);
});

test("a keeper that is down while its database sleeps: a start is refused with the reason, and the next one goes through", async () => {
  const made = await site.create({ name: "unkept" });
  const client = await site.connect(made);
  await client.query("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
  await site.end(client);
  await site.state(made.id, "stopped");
  await site.keeper.close();
  const refused = await refusalOf(made);
  expect(refused?.code).toBe("57P03");
  expect(refused?.detail).toContain("keeper");
  const view = await site.view(made.id);
  expect([view.state, view.failed?.code]).toEqual(["error", "keepers_unreachable"]);
  await site.startKeeper();
  const again = await eventuallyIn(made);
  expect(await numbers(again)).toEqual([1]);
  expect((await site.view(made.id)).failed).toBe(null);
  await site.end(again);
});

test("an agent that is killed at any moment of a start: who waits is served when it is back", async () => {
  const made = await site.create({ name: "reborn", idle_timeout: 5 });
  const first = await site.connect(made);
  await first.query("CREATE TABLE t (n int)");
  await site.end(first);
  for (const [round, delay] of [5, 30, 70].entries()) {
    await site.state(made.id, "stopped");
    const waiting = site.connect(made, { connectionTimeoutMillis: 70_000 });
    waiting.catch(() => {});
    await sleep(delay);
    await site.cluster.noteBoots();
    await site.cluster.killAgent("one");
    site.cluster.startAgent("one");
    const client = await waiting;
    await client.query("INSERT INTO t VALUES ($1)", [round]);
    expect(await numbers(client)).toEqual(Array.from({ length: round + 1 }, (_, n) => n));
    await site.end(client);
    await site.cluster.ready("one");
  }
});

test("a data folder that is damaged is restored from a keeper; one that cannot be opened here: 57P03 with why, each host asked once", async () => {
  const made = await site.create({ name: "broken" });
  const client = await site.connect(made);
  await client.query("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
  await site.end(client);
  await site.state(made.id, "stopped");
  const pgdata = join(site.folder("one", made.id), "pgdata");
  const map = join(pgdata, "global", "pg_filenode.map");
  writeFileSync(map, Buffer.alloc(readFileSync(map).length, 7));
  const restored = await site.connect(made);
  expect(await numbers(restored)).toEqual([1]);
  await site.end(restored);
  const events = await site.cluster.client.events(`/databases/${made.id}`);
  const told = events.find(({ reason }) => reason === "copy_damaged");
  expect(told?.message).toMatch(/^the copy on host \S+ is damaged: .*pg_filenode.map.*; restored from a keeper$/);
  await site.state(made.id, "stopped");

  const version = join(pgdata, "PG_VERSION");
  const whole = readFileSync(version);
  writeFileSync(version, "14\n");
  const refused = await refusalOf(made);
  expect(refused?.code).toBe("57P03");
  expect(refused?.detail).toContain("made by PostgreSQL 14");
  const view = await site.view(made.id);
  expect([view.state, view.failed?.code]).toEqual(["error", "no_host"]);
  expect(view.failed?.message).toContain("made by PostgreSQL 14");
  expect((await journal(made.id)).filter((reason) => reason === "start_failed")).toHaveLength(1);
  expect(await site.isRunning("one", made.id)).toBe(false);
  writeFileSync(version, whole);
  const again = await eventuallyIn(made);
  expect(await numbers(again)).toEqual([1]);
  await site.end(again);
});

describe.skipIf(!mounts.available)("a full disk", () => {
  test("of the keeper: commits wait, reads go on, a start is refused; with room again all goes on, and nothing is lost", async () => {
    const made = await site.create({ name: "cramped", idle_timeout: 5 });
    const disk = new SmallDisk(join(site.keeperFolder, "databases", made.id), 128);
    try {
      const client = await site.connect(made);
      const reader = await site.connect(made);
      await client.query("CREATE TABLE t (n int, filler text); INSERT INTO t VALUES (1)");
      disk.fill();
      // More than what is allocated ahead of the log.
      const writing = client.query(
        "INSERT INTO t SELECT 2, string_agg(md5(g::text), '') FROM generate_series(1, 80000) g",
      );
      const view = await says(made.id, "commits_wait");
      expect(view.message).toContain("no space");
      expect(await numbers(reader)).toEqual([1]);
      disk.empty();
      await writing;
      await says(made.id, "ready");
      await site.end(reader);
      await site.end(client);
      await site.state(made.id, "stopped");
      disk.fill();
      const refused = await refusalOf(made);
      expect([refused?.code, refused?.detail]).toEqual(["57P03", expect.stringContaining("no space")]);
      disk.empty();
      const again = await eventuallyIn(made);
      expect(await numbers(again)).toEqual([1, 2]);
      await site.end(again);
      await site.state(made.id, "stopped");
    } finally {
      disk.remove();
    }
  });

  test("of the writer's host: statements fail or the writer ends, the API says why, and with room again every commit is there", async () => {
    const made = await site.create({ name: "swollen", idle_timeout: 60 });
    const disk = new SmallDisk(site.folder("one", made.id), 200);
    try {
      const client = await site.connect(made);
      await client.query("CREATE TABLE t (n int, filler text)");
      disk.fill();
      const acknowledged: number[] = [];
      let failure: { code?: string } | null = null;
      for (let n = 0; n < 2_000 && failure === null; n++)
        await client
          .query("INSERT INTO t SELECT $1, string_agg(md5(g::text), '') FROM generate_series(1, 10000) g", [n])
          .then(
            () => void acknowledged.push(n),
            (error: { code?: string }) => {
              failure = error;
            },
          );
      // Out of room in a table, or in the log: then PostgreSQL panics, and whether it was committed is in doubt.
      expect(["53100", "08006", "08007", "57P02", "XX000"]).toContain((failure as { code?: string } | null)?.code);
      const view = await says(made.id, "disk_full", "failed", "driver_error");
      expect(view.message).toMatch(/disk|space/);
      await site.end(client).catch(() => {});
      disk.empty();
      const again = await eventuallyIn(made);
      const kept = new Set(await numbers(again));
      expect(acknowledged.filter((n) => !kept.has(n))).toEqual([]);
      await again.query("INSERT INTO t VALUES (-1)");
      await says(made.id, "ready");
      await site.end(again);
    } finally {
      const pgdata = join(site.folder("one", made.id), "pgdata");
      const pid = await runningOn(pgdata);
      if (pid) await killCluster(pgdata, pid);
      disk.remove();
    }
  });
});
