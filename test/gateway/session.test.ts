import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Gateway } from "../../gateway/main.ts";
import { message, noticeResponse, parseReport, TYPE } from "../../postgres/wire/message.ts";
import { cancelPacket, PROTOCOL_3_2 } from "../../postgres/wire/startup.ts";
import { freePort } from "../free-port.ts";
import { requires } from "../requires.ts";
import { RawClient } from "./raw-client.ts";
import { eventually, PASSWORD, Site } from "./site.ts";

const postgres = await requires("postgres");

describe.skipIf(!postgres.available)("a session", () => {
  let site: Site;
  let gateway: Gateway;
  let keys: { clientKey: Buffer; serverKey: Buffer };

  beforeAll(async () => {
    site = await Site.create(postgres.path);
    gateway = await site.gateway();
    keys = await site.keys();
  });
  afterAll(() => site.close());
  beforeEach(() => eventually(() => gateway.counters.sessions === 0));

  const running = async (text: string): Promise<number> => {
    const rows = await site.cluster.admin(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%${text}%' AND usename = 'app'`,
    );
    return (rows[0] as { n: number }).n;
  };
  const untilRunning = async (text: string, n: number) => {
    for (let tries = 0; tries < 500; tries++) {
      if ((await running(text)) === n) return;
      await sleep(10);
    }
    throw new Error(`never ${n} of ${text}`);
  };
  const raw = async (port = gateway.port, protocol?: number) => {
    const client = await RawClient.plain(port);
    const key = await client.logIn(
      keys,
      [
        ["user", "app"],
        ["database", "app"],
      ],
      protocol,
    );
    return { client, ...key };
  };
  const cancel = async (port: number, pid: number, key: Buffer) => {
    const other = await RawClient.plain(port);
    other.send(cancelPacket(pid, key));
    expect(await other.error()).toBeNull();
  };
  const failure = (query: Promise<unknown>): Promise<string> =>
    query.then(
      () => "none",
      (error: pg.DatabaseError) => error.code ?? error.message,
    );

  test("a cancel request reaches the session whose key it has, and no other", async () => {
    const [one, two] = [await raw(), await raw(gateway.port, PROTOCOL_3_2)];
    one.client.query("SELECT pg_sleep(20), 'cancel one'");
    two.client.query("SELECT pg_sleep(20), 'cancel two'");
    await untilRunning("cancel", 2);
    await cancel(gateway.port, one.pid, Buffer.from("....")); // The right process with a wrong key.
    expect(await running("cancel")).toBe(2);
    await cancel(gateway.port, two.pid, two.key);
    const { body } = await two.client.until(TYPE.errorResponse);
    expect(parseReport(body).C).toBe("57014");
    expect(await running("cancel one")).toBe(1);
    await cancel(gateway.port, one.pid, one.key);
    await one.client.until(TYPE.errorResponse);
    for (const { client } of [one, two]) client.socket.destroy();
    await eventually(() => gateway.counters.sessions === 0);
    const unknown = gateway.counters.cancels_unknown_total;
    await cancel(gateway.port, one.pid, one.key);
    expect(gateway.counters.cancels_unknown_total).toBe(unknown + 1);
  });

  test("commits that shall wait for no keeper are counted: from the beginning, by a statement, by one with parameters", async () => {
    const counted = () => gateway.counters.commit_overrides_total;
    const before = counted();
    const client = await site.connect(gateway, { options: "-c synchronous_commit=local" });
    expect((await client.query("SHOW synchronous_commit")).rows).toEqual([{ synchronous_commit: "local" }]);
    expect(counted() - before).toBe(1);
    await client.query("SET synchronous_commit = on");
    await client.query("SELECT 'SET synchronous_commit = off'");
    expect(counted() - before).toBe(1);
    await client.query("BEGIN");
    await client.query("SET LOCAL synchronous_commit TO off");
    await client.query({ name: "weaker", text: "set synchronous_commit = off" });
    await client.query("COMMIT");
    expect(counted() - before).toBe(3);
    await client.end();
  });

  test("a cancel request that reaches another gateway is passed on, once", async () => {
    const [portA, portB] = [await freePort(), await freePort()];
    const at = (port: number) => ({ host: "127.0.0.1", port });
    const a = await site.gateway({
      listen: at(portA),
      number: 1,
      peers: new Map([
        [2, at(portB)],
        [3, at(portB)],
      ]),
    });
    const b = await site.gateway({
      listen: at(portB),
      number: 2,
      peers: new Map([
        [1, at(portA)],
        [3, at(portA)],
      ]),
    });
    for (const protocol of [undefined, PROTOCOL_3_2]) {
      const session = await raw(portA, protocol);
      session.client.query("SELECT pg_sleep(20), 'far away'");
      await untilRunning("far away", 1);
      await cancel(portB, session.pid, session.key);
      await session.client.until(TYPE.errorResponse);
      session.client.socket.destroy();
    }
    // Both believe that the third is the other: it goes round once.
    await cancel(portA, 3 * 2 ** 21 + 5, Buffer.from("nope"));
    await eventually(() => b.counters.cancels_unknown_total === 1);
    expect([a.counters.cancels_forwarded_total, b.counters.cancels_forwarded_total]).toEqual([1, 2]);
    await Promise.all([a.close(0), b.close(0)]);
  });

  test("the query of a client that vanishes is cancelled, and nothing is left", async () => {
    for (const leave of ["reset", "closed"] as const) {
      const { client } = await raw();
      client.query("SELECT pg_sleep(20), 'vanished'");
      await untilRunning("vanished", 1);
      if (leave === "reset") client.socket.resetAndDestroy();
      else client.socket.end();
      await untilRunning("vanished", 0);
      await eventually(() => gateway.counters.sessions === 0 && gateway.counters.connections === 0);
    }
  });

  test("what a client sent before it said goodbye is carried out", async () => {
    const { client } = await raw();
    await site.cluster.admin("CREATE TABLE IF NOT EXISTS farewell (n int); GRANT ALL ON farewell TO app", "app");
    client.query("SELECT pg_sleep(0.3); INSERT INTO farewell VALUES (1)");
    client.send(message(TYPE.terminate));
    client.socket.end();
    await eventually(() => gateway.counters.sessions === 0);
    expect(await site.cluster.admin("SELECT count(*)::int AS n FROM farewell", "app")).toEqual([{ n: 1 }]);
  });

  test("a client that vanishes while it waits for the start is forgotten", async () => {
    if (site.database.status === "ready") await site.database.stopIfIdle();
    const started = Promise.withResolvers<void>();
    site.starting = async () => {
      await started.promise;
      await site.cluster.start();
    };
    const client = await RawClient.plain(gateway.port);
    const login = client.logIn(keys).catch(() => {});
    // One that goes before the control plane was asked wakes nobody.
    await eventually(() => gateway.counters.waiting === 1 && site.database.status === "booting");
    client.socket.destroy();
    await login;
    await eventually(() => gateway.counters.waiting === 0 && gateway.counters.connections === 0);
    started.resolve();
    await eventually(() => site.database.status === "ready");
    expect(gateway.counters.sessions).toBe(0);
    site.starting = () => site.cluster.start();
  });

  test("a slow reader of large rows holds PostgreSQL back, not the gateway's memory", async () => {
    const { client } = await raw();
    client.socket.pause();
    client.query("SELECT repeat('x', 1000000) FROM generate_series(1, 400)");
    const before = process.memoryUsage().rss;
    let most = 0;
    for (let i = 0; i < 20; i++) {
      await sleep(50);
      most = Math.max(most, process.memoryUsage().rss - before);
    }
    const passed = gateway.counters.bytes_to_clients_total;
    await sleep(200);
    expect(gateway.counters.bytes_to_clients_total).toBe(passed);
    expect(most).toBeLessThan(60e6);
    let bytes = 0;
    client.socket.removeAllListeners("data");
    client.socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    client.socket.resume();
    await eventually(() => bytes > 400e6, 20_000);
    client.socket.destroy();
  });

  test("a slow PostgreSQL holds a COPY back, not the gateway's memory", async () => {
    const { client } = await raw();
    await site.cluster.admin("CREATE TABLE heap (t text); GRANT ALL ON heap TO app", "app");
    client.query("COPY heap FROM STDIN");
    await client.until(0x47);
    const [{ pid }] = (await site.cluster.admin("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")) as [
      { pid: number },
    ];
    process.kill(pid, "SIGSTOP");
    const before = gateway.counters.bytes_from_clients_total;
    const row = message(0x64, `${"y".repeat(60_000)}\n`);
    for (let i = 0; i < 2_000; i++) client.socket.write(row);
    await sleep(500);
    const held = gateway.counters.bytes_from_clients_total - before;
    expect(held).toBeLessThan(20e6);
    process.kill(pid, "SIGCONT");
    client.send(message(0x63));
    await client.until(TYPE.readyForQuery);
    expect(gateway.counters.bytes_from_clients_total - before).toBeGreaterThan(119e6);
    client.socket.destroy();
  });

  test("PostgreSQL killed: in a query the outcome is in doubt, in an open transaction it is not", async () => {
    const [doubt, open, idle, stuck] = [await raw(), await raw(), await raw(), await raw()];
    doubt.client.query("SELECT pg_sleep(20), 'lost'");
    open.client.query("BEGIN");
    await open.client.until(TYPE.readyForQuery);
    open.client.query("SELECT pg_sleep(20), 'lost'");
    stuck.client.query("BEGIN");
    await stuck.client.until(TYPE.readyForQuery);
    stuck.client.query("SELECT pg_sleep(20), 'lost'; COMMIT");
    await untilRunning("lost", 3);
    await site.cluster.kill();
    const codes = await Promise.all([doubt, open, idle, stuck].map(async ({ client }) => (await client.error())?.C));
    expect(codes).toEqual(["08007", "08006", "08006", "08007"]);
    site.database.stopped();
    await (await site.connect(gateway)).end();
    expect(gateway.counters.backends_lost_total).toBe(4);
  });

  test("a backend that PostgreSQL ends says so itself, once", async () => {
    const { client } = await raw();
    await site.cluster.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    expect(await client.error()).toMatchObject({
      C: "57P01",
      M: "terminating connection due to administrator command",
    });
    expect(await client.error()).toBeNull();
  });

  describe("a commit that waits for the keepers", () => {
    const keepers = async (name: string | null) => {
      const set = name === null ? "RESET synchronous_standby_names" : `SET synchronous_standby_names = '${name}'`;
      await site.cluster.admin(`SET synchronous_commit = local; ALTER SYSTEM ${set}`).catch(() => {});
      await site.cluster.admin(`ALTER SYSTEM ${set}`);
      await site.cluster.admin("SELECT pg_reload_conf()");
      await sleep(200);
    };
    const waiting = async () => {
      await site.cluster.admin("CREATE TABLE IF NOT EXISTS doubtful (n int); GRANT ALL ON doubtful TO app", "app");
      await keepers("k1_t1");
      const session = await raw();
      session.client.query("INSERT INTO doubtful VALUES (1)");
      await untilRunning("doubtful", 1);
      await sleep(50);
      return { ...session, held: gateway.counters.cancels_held_total };
    };
    afterEach(() => keepers(null));

    test("is not cancelled meanwhile; once it is durable there is nothing to cancel, nor is what comes next", async () => {
      const { client, pid, key, held } = await waiting();
      await cancel(gateway.port, pid, key);
      await cancel(gateway.port, pid, key);
      await eventually(() => gateway.counters.cancels_held_total === held + 1);
      await sleep(600);
      expect(await running("doubtful")).toBe(1);
      await keepers(null);
      await client.until(TYPE.readyForQuery);
      client.query("SELECT pg_sleep(1), 'next'");
      const seen: number[] = [];
      for (let next = await client.next(); next?.type !== TYPE.readyForQuery; next = await client.next())
        seen.push(next?.type ?? 0);
      expect(seen).not.toContain(TYPE.errorResponse);
      expect(gateway.counters.cancels_held_total).toBe(held + 1);
      client.socket.destroy();
    });

    test("what else its statement does is cancelled when the wait is over", async () => {
      const { client, pid, key } = await waiting();
      await keepers(null);
      await client.until(TYPE.readyForQuery);
      await keepers("k1_t1");
      client.query("BEGIN; INSERT INTO doubtful VALUES (2); COMMIT; SELECT pg_sleep(20), 'behind'");
      await untilRunning("behind", 1);
      await sleep(50);
      await cancel(gateway.port, pid, key);
      await sleep(300);
      await keepers(null);
      const { body } = await client.until(TYPE.errorResponse);
      expect(parseReport(body).C).toBe("57014");
      client.socket.destroy();
    });

    test("is cancelled when that lasts, and not acknowledged then", async () => {
      const { client, pid, key } = await waiting();
      const before = performance.now();
      await cancel(gateway.port, pid, key);
      const seen: number[] = [];
      let error: Record<string, string> | null = null;
      for (let next = await client.next(); next !== null; next = await client.next()) {
        seen.push(next.type);
        if (next.type === TYPE.errorResponse) error = parseReport(next.body);
      }
      expect(performance.now() - before).toBeGreaterThan(9_500);
      expect(error).toMatchObject({ C: "08007", V: "FATAL" });
      // The warning and our error: no CommandComplete, no ReadyForQuery.
      expect(seen).toEqual([TYPE.noticeResponse, TYPE.errorResponse]);
    });
  });

  test("a user's own warning of that name is no such thing", async () => {
    const client = await site.connect(gateway);
    await client.query("DO $$ BEGIN RAISE WARNING 'SyncRepWaitForLSN' USING ERRCODE = '01000'; END $$");
    expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    await client.end();
    expect(noticeResponse({ severity: "WARNING", code: "01000", message: "x" }).length).toBeGreaterThan(0);
  });

  test("close: idle sessions at once, transactions until they end, then nobody; 57P01", async () => {
    const closing = await site.gateway();
    const idle = await site.connect(closing);
    const busy = await site.connect(closing);
    const stuck = await site.connect(closing);
    const codes: Record<string, string> = {};
    for (const [name, client] of Object.entries({ idle, busy, stuck }))
      client.on("error", (error) => {
        codes[name] ??= (error as pg.DatabaseError).code ?? error.message;
      });
    await busy.query("BEGIN");
    await stuck.query("BEGIN");
    const forever = failure(stuck.query("SELECT pg_sleep(20), 'stuck'"));
    await untilRunning("stuck", 1);
    const closed = closing.close(1_000);
    await eventually(() => codes.idle === "57P01");
    expect((await busy.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    await failure(busy.query("COMMIT"));
    await eventually(() => codes.busy === "57P01");
    expect(await failure(site.connect(closing))).toMatch(/ECONNREFUSED|57P01/);
    await closed;
    expect(await forever).toBe("57P01");
    await untilRunning("stuck", 0);
  });

  test("a gateway that is gone leaves a database that another one serves", async () => {
    const first = await site.gateway();
    const client = await site.connect(first);
    client.on("error", () => {});
    await first.close(0);
    const second = await site.gateway({ listen: { host: "127.0.0.1", port: first.port } });
    const again = await site.connect(second, { password: PASSWORD });
    expect((await again.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    await again.end();
    await second.close(0);
  });
});
