// What was loaded is compared with the source before it is served: real engines, real sources, and between them a line that spoils a row.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EngineProcess } from "./engine-process.ts";
import { type Fault, FaultySource } from "./faulty-source.ts";
import type { Dialect } from "./shop.ts";
import { parts, type TestSource, testSource } from "./sources.ts";

describe.each(["mysql", "postgres"] satisfies Dialect[])("%s", (dialect) => {
  describe.skipIf(!parts[dialect].available)("what was loaded", () => {
    let source: TestSource;
    let faulty: FaultySource;
    let engine: EngineProcess | null = null;
    beforeAll(async () => {
      source = await testSource(dialect);
      faulty = await FaultySource.start(dialect, source.connection);
      await source.run(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(100) NOT NULL, balance DECIMAL(10,2), ratio REAL, gone INTEGER)",
        "CREATE TABLE posts (user_id INTEGER, title VARCHAR(40))",
        "CREATE TABLE nothing (id INTEGER PRIMARY KEY)",
        `INSERT INTO users VALUES ${Array.from({ length: 900 }, (_, i) => `(${i}, 'name-${i}-', ${i}.5, 0.1, ${i % 3 === 0 ? 1 : "NULL"})`).join()}`,
        "INSERT INTO posts VALUES (1, 'first'), (1, 'first'), (2, NULL)",
      );
    });
    afterAll(async () => {
      await faulty?.close();
      await source?.close();
    });
    afterEach(async () => {
      await engine?.remove();
      engine = null;
    });
    const start = async (fault: Fault | null, more: Parameters<typeof EngineProcess.create>[1] = {}) => {
      const { connection } = source;
      const instance = `verified_${Math.floor(Math.random() * 1e6)}`;
      engine = await EngineProcess.create({ ...connection, port: faulty.port }, { instance, ...more });
      faulty.fault = fault;
      faulty.spoiled = 0;
      engine.start();
      return engine;
    };

    test.each([{}, { sync: { mode: "poll" as const } }])("is served when it is the source's: %j", async (more) => {
      const { load, rows } = await (await start(null, more)).serving();
      expect(rows).toEqual({ users: 900, posts: 3, nothing: 0 });
      expect(load.verified).toEqual({ tables: 3, rows: 903, samples: 60 });
    });

    test("is served also where rows are left out, and while it is written to", async () => {
      let isOver = false;
      const writing = (async () => {
        for (let i = 0; !isOver; i++)
          await source.run(
            `INSERT INTO users VALUES (${5000 + i}, 'new', 1, 1, NULL)`,
            `DELETE FROM users WHERE id = ${5000 + i - 1}`,
          );
      })();
      const own = await start(null, { yaml: "version: 1\nwhere: gone IS NULL\nwhere_columns: [gone]\n" });
      const { load } = await own.serving();
      isOver = true;
      await writing;
      await source.run("DELETE FROM users WHERE id >= 5000");
      expect(load.verified).toMatchObject({ tables: 3, samples: 60 });
    });

    test.each<[string, Fault, RegExp]>([
      ["a row is missing", { row: "name-7-", becomes: null }, /of users 899 rows were loaded, and the source has 900/],
      ["a row of a table without a key is missing", { row: "first", becomes: null }, /of posts 2 rows .* has 3/],
      ["a row is another", { row: "name-7-", becomes: "nane-7-" }, /the row 7 of users differs .* in name$/],
      ["a number is another", { row: "899.50", becomes: "899.51" }, /the row 899 of users differs .* in balance$/],
    ])("is not served when %s", async (_what, fault, message) => {
      const own = await start(fault);
      expect(await own.ended()).toBe(1);
      expect(faulty.spoiled).toBe(1);
      const complaint = own.said.split("\n").find((line) => line.includes("verification_failed")) ?? own.said;
      expect(JSON.parse(complaint)).toMatchObject({
        code: "verification_failed",
        text: expect.stringMatching(message),
      });
    });
  });
});
