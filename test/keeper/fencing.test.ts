// Two writers of one database: whatever becomes of the older one, it acknowledges nothing and serves nobody after its lease.
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import { KeeperLeases } from "../../agent/postgres/keeper-leases.ts";
import { Leases, thisMoment } from "../../agent/postgres/lease.ts";
import { processesOf } from "../../agent/postgres/postmaster.ts";
import { Renewals } from "../../agent/postgres/renewals.ts";
import { watchdogOf } from "../../agent/postgres/watchdog.ts";
import { signal } from "../../agent/process/pid.ts";
import { WRITER_LEASE_MS } from "../../contract/writer.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { scratch } from "../scratch.ts";
import { Commits, makeTable, missingRows } from "./commits.ts";
import { client, orderFor, PostgresHost, until } from "./postgres-host.ts";

const dataDir = scratch("keeper");
let keeper: Keeper;
let a: PostgresHost;
let b: PostgresHost;

beforeAll(async () => {
  [a, b] = await Promise.all([PostgresHost.make(), PostgresHost.make()]);
  keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
});
afterAll(async () => {
  await a?.close();
  await b?.close();
  await keeper?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

/** Of what is granted, two seconds are for ending the writer. */
const TTL_MS = 3_000;
const CLIENTS = 3;

const processesAt = (host: PostgresHost, database: string) => processesOf(host.writers.cluster(database).pgdata);

function signalAll(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) signal(pid, name);
}

describe("a host that was paused while another took over", () => {
  test("a paused writer is let go on: it takes no commit any more, and the watchdog ends it", async () => {
    const first = await orderFor("db_paused", 1, [keeper]);
    await a.writers.renew("db_paused", 1, { sent: thisMoment(), ttlMs: 20_000 });
    await a.start(first);
    await makeTable(first);
    const commits = new Commits();
    await commits.begin(first, CLIENTS);
    await until("commits are acknowledged", async () => commits.acknowledged.size > 20);

    await a.writers.renew("db_paused", 1, { sent: thisMoment(), ttlMs: TTL_MS });
    const watchdog = await watchdogOf(a.root);
    const paused = [watchdog?.pid ?? 0, ...processesAt(a, "db_paused")];
    expect(paused.length).toBeGreaterThan(6);
    signalAll(paused, "SIGSTOP");
    onTestFinished(() => {
      signalAll(processesAt(a, "db_paused"), "SIGKILL");
      signalAll(paused.slice(0, 1), "SIGCONT");
    });
    // What was on its way from before is there.
    await sleep(100);
    const before = new Set(commits.acknowledged);

    const second = await orderFor("db_paused", 2, [keeper]);
    const started = await b.start(second);
    expect(started.rung).toBe(7);
    expect(await missingRows(second, before)).toEqual([]);
    await sleep(TTL_MS);

    // PostgreSQL first, so that it has some time before the watchdog sees that the lease is over.
    signalAll(paused.slice(1), "SIGCONT");
    await sleep(400);
    signalAll(paused.slice(0, 1), "SIGCONT");
    await until("the old writer is gone", async () => processesAt(a, "db_paused").length === 0);
    await commits.end();
    // The answer to a commit that the keeper had before it promised may have been cut off by the pause: one for each client.
    expect(commits.acknowledged.size - before.size).toBeLessThanOrEqual(CLIENTS);
    expect(await missingRows(second, commits.acknowledged)).toEqual([]);

    // The copy that was left behind is known to be old, also by its own host.
    const { clean } = await b.writers.stop(second);
    expect(clean).toBe(true);
    const third = await orderFor("db_paused", 3, [keeper]);
    const again = await a.start(third);
    expect(again).toMatchObject({ rung: 7 });
    expect(again.why).toContain("it was last written under term 1");
    expect(await missingRows(third, before)).toEqual([]);
  });

  test("only PostgreSQL is paused: it is ended while it is, before its lease is over", async () => {
    const order = await orderFor("db_stopped", 1, [keeper]);
    await a.start(order);
    const sent = thisMoment();
    await a.writers.renew("db_stopped", 1, { sent, ttlMs: TTL_MS });
    signalAll(processesAt(a, "db_stopped"), "SIGSTOP");
    await until("it is gone", async () => processesAt(a, "db_stopped").length === 0);
    expect(thisMoment().monotonic - sent.monotonic).toBeLessThan(TTL_MS);
    expect(thisMoment().monotonic - sent.monotonic).toBeGreaterThan(TTL_MS - 2_001);
  });

  test("a start where a paused writer of an older term is left does not wait for it", async () => {
    const order = await orderFor("db_left", 1, [keeper]);
    await a.start(order);
    signalAll(processesAt(a, "db_left"), "SIGSTOP");
    const at = performance.now();
    const next = await orderFor("db_left", 2, [keeper]);
    expect(await a.start(next)).toMatchObject({ rung: 5 });
    expect(performance.now() - at).toBeLessThan(5_000);
  });
});

describe("the writer's lease", () => {
  test("renewed, it runs; not renewed, it has ended when the lease has, and says so", async () => {
    const order = await orderFor("db_lease", 1, [keeper]);
    await a.writers.renew("db_lease", 1, { sent: thisMoment(), ttlMs: 20_000 });
    const { ended } = await a.start(order);
    const until2 = thisMoment().monotonic + 3_000;
    let sent = thisMoment();
    while (thisMoment().monotonic < until2) {
      sent = thisMoment();
      await a.writers.renew("db_lease", 1, { sent, ttlMs: TTL_MS });
      await sleep(300);
    }
    const sql = await client(order);
    expect(await sql.query("SELECT 1 AS one")).toEqual([{ one: "1" }]);
    // A lower term's renewal, late, changes nothing; neither does one of a term that does not run.
    await a.writers.renew("db_lease", 2, { sent: thisMoment(), ttlMs: 60_000 });
    await ended;
    expect(thisMoment().monotonic - sent.monotonic).toBeLessThan(TTL_MS);
    await expect(sql.query("SELECT 1")).rejects.toThrow();
    expect(processesAt(a, "db_lease")).toEqual([]);
  });

  test("nothing is opened once it is over", async () => {
    const order = await orderFor("db_late", 1, [keeper]);
    const { monotonic, wall } = thisMoment();
    await a.writers.renew("db_late", 1, {
      sent: { monotonic: monotonic - 10_000, wall: wall - 10_000 },
      ttlMs: TTL_MS,
    });
    await expect(a.start(order)).rejects.toMatchObject({ code: "lease_over" });
    expect(processesAt(a, "db_late")).toEqual([]);
  });
});

describe("the keepers' word", () => {
  test("is given to the promised term only, and counts until it is over for who promises another", async () => {
    const kept = new KeeperClient(keeper, "db_word");
    await kept.promise(4);
    const word = async (term: number) => {
      const given: string[] = [];
      const writer = { database: "db_word", term, keepers: [keeper], quorum: 1 };
      await new KeeperLeases().ask([writer], ({ database }) => void given.push(database));
      return given;
    };
    expect([await word(3), await word(5), await word(4)]).toEqual([[], [], ["db_word"]]);
    const at = performance.now();
    const { lease_left_ms: left } = await kept.promise(5);
    expect(left).toBeGreaterThan(WRITER_LEASE_MS);
    expect([await word(4), await word(5)]).toEqual([[], ["db_word"]]);
    // A keeper that was started anew does not know what it gave, and says so.
    await keeper.close();
    keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: Number(new URL(keeper.url).port) } });
    const { lease_left_ms: young } = await kept.promise(6);
    expect(young).toBeGreaterThan(left - (performance.now() - at));
  });

  test("of fewer keepers than acknowledge a commit is none; each counts from when it was asked", async () => {
    const away = { name: "away", url: "http://127.0.0.1:1", token: "t" };
    const kept = new KeeperClient(keeper, "db_few");
    await kept.promise(1);
    const given: number[] = [];
    const writer = { database: "db_few", term: 1, keepers: [keeper, { ...away, name: "b" }, away], quorum: 2 };
    await new KeeperLeases().ask([writer], (_, { monotonic }) => void given.push(monotonic));
    expect(given).toEqual([]);
  });
});

test("a start that takes longer than a lease goes on on the keepers' word, once the control plane has let it begin", async () => {
  const asked: string[] = [];
  const started = async (database: string, isGranted: boolean) => {
    await new KeeperClient(keeper, database).promise(1);
    const renewed: number[] = [];
    const renewals = new Renewals(
      () => {},
      () => {},
    );
    renewals.serve({
      renew: async (_database, _term, { ttlMs }) => void renewed.push(ttlMs),
      keptBy: () => {
        asked.push(database);
        return { database, term: 1, keepers: [keeper], quorum: 1 };
      },
    });
    renewals.add("w", 1, database);
    const question = renewals.question();
    if (question?.kind !== "renew") throw new Error("nothing is asked");
    const writers = [{ id: "w", generation: 1 }];
    if (isGranted) await renewals.answered({ kind: "renewed", nth: question.nth, ttl_ms: 5_000, writers });
    return { renewals, renewed };
  };
  const [begun, unknown] = [await started("db_begun", true), await started("db_unknown", false)];
  expect(begun.renewed).toEqual([5_000]);
  // From here on the control plane says nothing.
  await until("the keeper lets it go on", async () => begun.renewed.length > 1, 14_000);
  expect(begun.renewed[1]).toBe(WRITER_LEASE_MS);
  expect([unknown.renewed, asked.includes("db_unknown")]).toEqual([[], false]);
  for (const { renewals } of [begun, unknown]) renewals.close();
});

describe("a stop for idleness", () => {
  test("is refused with a client there, and lets nobody in that it would cut off", async () => {
    const order = await orderFor("db_unused", 1, [keeper]);
    const { postmaster } = await a.start(order);
    const sql = await client(order);
    expect(await postmaster.stopUnused()).toBe(1);
    expect(await sql.query("SELECT 1 AS one")).toEqual([{ one: "1" }]);
    sql.end();
    // Clients come as fast as they can: none that was let in is cut off.
    const cut: string[] = [];
    let isOver = false;
    let served = 0;
    const coming = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        const guest = await client(order).catch(() => null);
        if (guest === null) continue;
        await guest.query("SELECT 1").then(
          () => served++,
          (error: Error) => cut.push(error.message),
        );
        guest.end();
        await sleep(Math.random() * 20);
      }
    });
    for (let stopped = false; !stopped; ) stopped = (await postmaster.stopUnused()) === 0;
    isOver = true;
    await Promise.all(coming);
    await until("it is gone", async () => processesAt(a, "db_unused").length === 0);
    expect([cut, served > 0]).toEqual([[], true]);
    expect((await a.writers.cluster("db_unused").local())?.state).toBe("clean");
  });
});

describe("lower terms", () => {
  test("are refused by the keeper, on disk: also after it was started again", async () => {
    const kept = new KeeperClient(keeper, "db_low");
    await kept.promise(5);
    await keeper.close();
    keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: Number(new URL(keeper.url).port) } });
    const writer = { host: "127.0.0.1", port: 1, user: "u", password: "p", certificate: null, anew: false } as const;
    for (const ask of [
      () => kept.promise(4),
      () => kept.follow({ ...writer, term: 4 }),
      () => kept.release(4),
      () => kept.forget(4),
    ])
      await expect(ask()).rejects.toMatchObject({ code: "stale_term" });
    expect(await kept.status()).toMatchObject({ promised_term: 5, following: { state: "off" } });
  });

  test("are refused by the agent, whose fence outlives it; and by it for a keeper that has promised more", async () => {
    const order = await orderFor("db_fence", 3, [keeper], { served_term: 0 });
    await a.start(order);
    const old = { ...order, term: 2 };
    await expect(a.start(old)).rejects.toMatchObject({ code: "stale_term" });
    await expect(a.writers.stop(old)).rejects.toMatchObject({ code: "stale_term" });
    expect(processesAt(a, "db_fence").length).toBeGreaterThan(0);
    // Another host that has never heard of it learns it from the keeper.
    await expect(b.start(old)).rejects.toMatchObject({ code: "stale_term" });
    expect(processesAt(b, "db_fence")).toEqual([]);
  });
});

test("a lease that is granted from several sides at once is the last one's, and is refused to none", async () => {
  const root = scratch("leases");
  const leases = new Leases(root);
  const lease = (ms: number) => ({
    ...{ database: "db_many", term: 1, pgdata: root, postmaster: null },
    ...{ until_monotonic_ms: ms, until_wall_ms: ms },
  });
  await Promise.all(Array.from({ length: 20 }, (_, ms) => leases.grant(lease(ms))));
  expect(await leases.all()).toEqual([lease(19)]);
});
