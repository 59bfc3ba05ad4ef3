// An engine as a process beside a real source: what it does when one of the two is killed, paused, altered, or has forgotten its log.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EXIT_OUT_OF_MEMORY } from "../../contract/engine.ts";
import { keyText } from "../../engine/serve/keys.ts";
import { EngineProcess, SECRET } from "./engine-process.ts";
import type { Dialect } from "./shop.ts";
import { parts, type TestSource, testSource } from "./sources.ts";

describe.each(["mysql", "postgres"] satisfies Dialect[])("%s", (dialect) => {
  describe.skipIf(!parts[dialect].available)("an engine", () => {
    let source: TestSource;
    let engine: EngineProcess | null = null;
    let kept: string;

    beforeAll(async () => {
      kept = mkdtempSync(join(tmpdir(), "lamplighter-checkpoint-"));
      source = await testSource(dialect, [
        "--max-binlog-size=4096",
        "--log-bin-compress",
        "--log-bin-compress-min-len=10",
      ]);
    });
    afterAll(async () => {
      await source?.close();
      rmSync(kept, { recursive: true, force: true });
    });
    afterEach(async () => {
      await engine?.remove();
      engine = null;
      await source.run("DROP TABLE IF EXISTS posts", "DROP TABLE IF EXISTS users");
    });

    const users = () =>
      source.run(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(100) NOT NULL, age INTEGER)",
        "INSERT INTO users VALUES (1, 'ann', 30), (2, 'bob', NULL)",
      );
    const start = async (more: Parameters<typeof EngineProcess.create>[1] = {}): Promise<EngineProcess> => {
      engine = await EngineProcess.create(source.connection, {
        instance: `following_${Math.floor(Math.random() * 1e6)}`,
        ...more,
      });
      engine.start();
      return engine;
    };
    const all = async (of: EngineProcess) =>
      (await of.ask("users { id name age }", { "min-position": await source.position() })).body as unknown;
    const rows = () =>
      source
        .ask("SELECT id, name, age FROM users ORDER BY id")
        .then((found) =>
          found.map(({ id, name, age }) => ({ id: Number(id), name, age: age === null ? null : Number(age) })),
        );

    test("that was killed goes on from its checkpoint", async () => {
      await users();
      const own = await start({
        checkpoint: { folder: kept, everySeconds: 0.3 },
      });
      await own.serving();
      await source.run("UPDATE users SET name = 'before' WHERE id = 1");
      expect(await all(own)).toEqual(await rows());
      await sleep(1000);
      await own.stop("SIGKILL");
      await source.run(
        "INSERT INTO users VALUES (3, 'meanwhile', 1)",
        "DELETE FROM users WHERE id = 2",
        "UPDATE users SET age = 31 WHERE id = 1",
      );
      own.start();
      await own.serving();
      expect(own.said).toContain("goes on from the checkpoint");
      expect(own.said.match(/loaded \d+ rows/g)).toHaveLength(1);
      expect(await all(own)).toEqual(await rows());
      // Ended in good order it keeps what it has.
      await source.run("INSERT INTO users VALUES (4, 'later', 1)");
      expect(await all(own)).toEqual(await rows());
      await own.stop();
      own.start();
      await own.serving();
      expect(await all(own)).toEqual(await rows());
    });

    test("serves while its source is down, and catches up when it is back", async () => {
      await users();
      const own = await start();
      await own.serving();
      await source.restart();
      await source.run("INSERT INTO users VALUES (3, 'after', 1)");
      await own.serving();
      expect(await all(own)).toEqual(await rows());
      expect((await own.health())?.replication.resyncs).toBe(0);
    });

    test("that is paused stays as it is, says so, and then catches up", async () => {
      await users();
      const own = await start();
      await own.serving();
      expect((await own.act("/pause-replication")).body).toEqual({ replication_paused: true });
      await source.run("UPDATE users SET age = 99 WHERE id = 1");
      await sleep(300);
      const paused = await own.ask("users(id = 1) { age }");
      expect(paused.body).toEqual([{ age: 30 }]);
      expect(paused.headers.get("x-replication")).toBe("paused");
      expect((await own.ask("users { id }", { "max-staleness": "1" })).status).toBe(503);
      expect(await own.ask("users { id }", { "min-position": await source.position() })).toMatchObject({
        status: 503,
        body: { code: "position_not_reached" },
      });
      await own.act("/resume-replication");
      expect(await all(own)).toEqual(await rows());
      for (const most of [0, 1, 20]) {
        const { status, headers } = await own.ask("users { id }", { "max-staleness": `${most}` });
        expect(status).toBe(200);
        expect(Number(headers.get("x-snapshot-age-ms"))).toBeLessThanOrEqual(most);
      }
    });

    test("whose log is gone reads everything again, and shows it", async () => {
      await users();
      const own = await start();
      await own.serving();
      await own.act("/pause-replication");
      await source.run("UPDATE users SET age = 98 WHERE id = 1");
      if (dialect === "mysql") {
        await source.run("RESET MASTER", "UPDATE users SET age = 97 WHERE id = 2");
      } else {
        await sleep(200);
        await source.run(
          "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active AND slot_name LIKE 'lamplighter_following%'",
        );
      }
      await own.act("/resume-replication");
      const health = await own.until(
        "resynced",
        ({ replication }) => replication.resyncs === 1 && replication.state === "live",
      );
      expect(health.state).toBe("serving");
      expect(own.said).toContain("resyncing (log_purged)");
      expect(await all(own)).toEqual(await rows());
    });

    test("sees a schema that it can go along with, and one that it cannot", async () => {
      await users();
      const own = await start();
      await own.serving();
      await source.run("ALTER TABLE users ADD COLUMN extra INTEGER", "INSERT INTO users VALUES (3, 'cy', 5, 7)");
      expect(await all(own)).toEqual(await rows());
      await source.run("ALTER TABLE users DROP COLUMN name", "INSERT INTO users (id, age) VALUES (4, 1)");
      const health = await own.until(
        "drifted",
        ({ replication, drift }) => replication.state === "drifted" && drift.length > 1,
      );
      expect(health).toMatchObject({ state: "serving", replication: { reason: { code: "schema_drift" } } });
      const { body, headers } = await own.ask("users(id = 3) { name }");
      expect([body, headers.get("x-replication")]).toEqual([[{ name: "cy" }], "drifted"]);
      // What can be gone along with is told beside what cannot.
      expect(health.drift.map(({ detail }) => detail)).toEqual(["users.name is gone", "users.extra is new"]);
      await source.run("ALTER TABLE users ADD COLUMN name VARCHAR(100) NOT NULL DEFAULT 'new'");
      const again = await own.until("live again", ({ replication }) => replication.state === "live");
      expect(again.drift.map(({ detail }) => detail)).toEqual(["users.extra is new"]);
      expect(await all(own)).toEqual(await rows());
    });

    test("is compared with the schema that it was built from, also when it begins later", async () => {
      await users();
      const own = await EngineProcess.create(source.connection, { instance: "later" });
      engine = own;
      await source.run("ALTER TABLE users ADD COLUMN extra INTEGER", "CREATE TABLE posts (id INTEGER PRIMARY KEY)");
      own.start();
      const { drift } = await own.serving();
      expect(drift.map(({ detail }) => detail).sort()).toEqual(["posts is new", "users.extra is new"]);
    });

    test("that is polled shows a schema that it cannot read until it can", async () => {
      await users();
      const own = await start({ sync: { mode: "poll", interval: 1 } });
      await own.serving();
      await source.run("ALTER TABLE users DROP COLUMN name");
      await own.until("drifted", ({ replication }) => replication.state === "drifted");
      await sleep(1500);
      expect((await own.health())?.replication.state).toBe("drifted");
      await source.run("ALTER TABLE users ADD COLUMN name VARCHAR(100) NOT NULL DEFAULT 'new'");
      await own.until("live again", ({ replication }) => replication.state === "live");
      expect((await own.ask("users(id = 1) { name }")).body).toEqual([{ name: "new" }]);
    });

    test("reads tables without a primary key as a whole", async () => {
      await source.run(
        "CREATE TABLE users (id INTEGER, name VARCHAR(10), age INTEGER)",
        "INSERT INTO users VALUES (1, 'a', 1)",
      );
      const own = await start({ sync: { interval: 0.2 } });
      await own.serving();
      await source.run("INSERT INTO users VALUES (2, 'b', NULL)", "UPDATE users SET age = 9");
      await own.until("reloaded", (health) => health.rows.users === 2);
      expect(((await own.ask("users(age = 9) { id }")).body as unknown[]).length).toBe(2);
    });

    test("never shows half of a transaction", async () => {
      await users();
      await source.run(
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, amount INTEGER NOT NULL, FOREIGN KEY (user_id) REFERENCES users (id))",
        "INSERT INTO posts VALUES (1, 1, 100), (2, 2, 0)",
      );
      const own = await start();
      await own.serving();
      const asked = (async () => {
        const sums = new Set<number>();
        for (let i = 0; i < 400; i++) {
          const { body } = await own.ask("users { age posts { amount } }");
          for (const each of [(body as { posts: { amount: number }[] }[]).flatMap(({ posts }) => posts)])
            sums.add(each.reduce((sum, { amount }) => sum + amount, 0));
        }
        return [...sums];
      })();
      for (let i = 0; i < 150; i++)
        await source.run(
          "BEGIN",
          "UPDATE posts SET amount = amount - 1 WHERE id = 1",
          `UPDATE users SET age = ${i} WHERE id = 1`,
          "UPDATE posts SET amount = amount + 1 WHERE id = 2",
          "COMMIT",
        );
      expect(await asked).toEqual([100]);
      expect(await all(own)).toEqual(await rows());
    });

    test("is loaded at one position while rows change", async () => {
      await users();
      await source.run(
        `INSERT INTO users ${dialect === "mysql" ? "SELECT seq, 'many', 0 FROM seq_1000_to_30000" : "SELECT i, 'many', 0 FROM generate_series(1000, 30000) i"}`,
      );
      const own = await start();
      const served = own.serving();
      let isServed = false;
      void served.then(() => (isServed = true));
      for (let i = 0; !isServed || i < 50; i++) {
        await source.run(
          `UPDATE users SET age = ${i} WHERE id >= 1000 AND id < 1050`,
          `DELETE FROM users WHERE id = ${29_000 - i}`,
          `INSERT INTO users VALUES (${40_000 + i}, 'new', ${i})`,
        );
        if (i % 3 === 0) await sleep(5); // See docs/decisions/0113.
      }
      await served;
      const where = "id < 1060 OR id > 28000";
      const [{ n }] = (await source.ask(`SELECT count(*) AS n FROM users WHERE ${where}`)) as [{ n: string }];
      const found: unknown[] = [];
      const headers = { "min-position": await source.position() };
      for (let cursor: string | null = ""; cursor !== null; ) {
        const page = await own.ask(
          `users(${where}, limit: 1000${cursor === "" ? "" : `, after: "${cursor}"`}) { id name age }`,
          headers,
        );
        found.push(...(page.body as unknown[]));
        cursor = page.headers.get("x-next-cursor");
      }
      expect(found.length).toBe(Number(n));
      const wanted = await source.ask(`SELECT id, name, age FROM users WHERE ${where} ORDER BY id`);
      expect(found).toEqual(
        wanted.map(({ id, name, age }) => ({ id: Number(id), name, age: age === null ? null : Number(age) })),
      );
    });

    test("reads everything again when it is asked to, while rows go on changing", async () => {
      await users();
      const own = await start();
      await own.serving();
      for (let i = 0; i < 60; i++) {
        if (i % 15 === 0) expect((await own.act("/reload")).status).toBe(202);
        await source.run(
          `INSERT INTO users VALUES (${10 + i}, 'n${i}', ${i})`,
          `UPDATE users SET age = ${i} WHERE id = 1`,
          ...(i % 7 === 0 ? [`DELETE FROM users WHERE id = ${10 + i}`] : []),
        );
      }
      expect(await all(own)).toEqual(await rows());
    });

    if (dialect === "postgres")
      test("leaves no slot at its source, except beside a checkpoint or when it is killed; then the next one takes it away", async () => {
        await users();
        const slots = async () => Number((await source.ask("SELECT count(*) AS n FROM pg_replication_slots"))[0]?.n);
        const before = await slots();
        const own = await start();
        await own.serving();
        expect(await slots()).toBe(before + 1);
        await own.stop("SIGKILL");
        own.start();
        await own.serving();
        expect(await slots()).toBe(before + 1);
        await own.stop();
        expect(await slots()).toBe(before);
      });

    test("may be polled", async () => {
      await users();
      const own = await start({ sync: { mode: "poll", interval: 0.2 } });
      await own.serving();
      await source.run("DELETE FROM users WHERE id = 1");
      await own.until("read again", (health) => health.rows.users === 1);
    });

    test("that is too small for its rows ends, and says what would help", async () => {
      await users();
      const many =
        dialect === "mysql"
          ? "SELECT seq, CONCAT(REPEAT('x', 90), seq), 1 FROM seq_10_to_200000"
          : "SELECT i, repeat('x', 90) || i, 1 FROM generate_series(10, 200000) i";
      await source.run(`INSERT INTO users ${many}`);
      const own = await start({ memoryMb: 24 });
      expect(await own.ended()).toBe(EXIT_OUT_OF_MEMORY);
      expect(own.said).toMatch(/loading users needs more than 24 MiB.*choose a larger size/);
    });

    test("that cannot begin says why, as the last thing that it says", async () => {
      await users();
      await source.run(
        ...(dialect === "mysql"
          ? [
              "CREATE USER IF NOT EXISTS reader@'127.0.0.1' IDENTIFIED BY 'secret'",
              "GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
            ]
          : ["DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN PASSWORD 'secret'"]),
      );
      const { connection } = source;
      const elsewhere = dialect === "mysql" ? { schema: "nosuch" } : { database: "nosuch" };
      const reader = { ...connection, user: "reader" };
      const taken = createServer().listen(0, "127.0.0.1");
      await once(taken, "listening");
      const port = (taken.address() as AddressInfo).port;
      const mode = dialect === "mysql" ? "binlog" : "logical";
      const cases: [Parameters<typeof start>[0], code: string, text: RegExp][] = [
        [{ source: { ...connection, password: "was changed" } }, "auth_failed", /./],
        [{ source: { ...connection, password: "" } }, "auth_failed", /./],
        [{ source: { ...connection, ...elsewhere } }, "schema_missing", /nosuch/],
        [{ source: reader, sync: { mode } }, "repl_grant_missing", /^(GRANT|ALTER ROLE) /],
        [{ listen: { port } }, "engine_died", /EADDRINUSE/],
      ];
      for (const [more, code, text] of cases) {
        const own = await start(more);
        expect(await own.ended()).toBe(1);
        const last = JSON.parse(own.said.trim().split("\n").at(-1) as string);
        expect(last).toEqual({ level: "error", code, text: expect.stringMatching(text) });
        await own.remove();
      }
      taken.close();
    });

    test("answers what is wrong with requests, and takes keys as they change", async () => {
      await users();
      const own = await start();
      await own.serving();
      expect((await own.ask("users { id }", { authorization: "Bearer rxk_all.AAAA" })).status).toBe(401);
      expect(
        (await own.ask("users { id }", { authorization: `Bearer ${keyText("another secret, as long", "all")}` }))
          .status,
      ).toBe(401);
      expect((await own.ask("users { id }", {}, "nobody")).status).toBe(401);
      const keys = [
        { id: "some", tables: [] },
        { id: "rows", rows: { users: "age > 5" } },
        { id: "late", expires_at: Date.now() - 1 },
        { id: "slow", rate: 1 },
      ];
      expect((await own.act("/keys", "PUT", { secret: SECRET, keys })).status).toBe(200);
      expect((await own.ask("users { id }")).status).toBe(401);
      expect((await own.ask("users { id }", {}, "some")).status).toBe(403);
      expect((await own.ask("users { id }", {}, "rows")).body).toEqual([{ id: 1 }]);
      expect((await own.ask("users { id }", {}, "late")).status).toBe(401);
      expect((await own.ask("users { id }", {}, "slow")).status).toBe(200);
      const slow = await own.ask("users { id }", {}, "slow");
      expect([slow.status, slow.headers.get("retry-after")]).toEqual([429, "1"]);
      expect((await own.ask("x".repeat(70_000), {}, "rows")).status).toBe(413);
      expect((await fetch(`${own.url}/pause-replication`, { method: "POST" })).status).toBe(401);
      const authorization = `Bearer ${keyText(SECRET, "rows")}`;
      expect(await (await fetch(`${own.url}/metrics`, { headers: { authorization } })).text()).toContain(
        'lamplighter_engine_rows{table="users"} 2',
      );
      expect((await fetch(`${own.url}/metrics`)).status).toBe(401);
      expect(await (await fetch(`${own.url}/health`)).json()).toEqual({
        state: "serving",
        replication: { state: "live", age_ms: expect.any(Number) },
      });
      for (const path of ["/schema", "/openapi.json"]) {
        expect((await fetch(`${own.url}${path}`)).status).toBe(401);
        expect((await fetch(`${own.url}${path}`, { headers: { authorization } })).status).toBe(200);
      }
      expect((await fetch(`${own.url}/nothing`)).status).toBe(404);
    });
  });
});
