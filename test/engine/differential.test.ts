// The same questions to an engine and to the source it follows, before and after many writes.
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { random as seeded } from "../random.ts";
import { SHARE } from "../rounds.ts";
import { CONFIG, CONFIGURED } from "./configured-shop.ts";
import { EngineProcess } from "./engine-process.ts";
import { answerOf, randomList, textOf } from "./random-query.ts";
import { Writer } from "./random-writes.ts";
import { type Dialect, TABLES, type Table } from "./shop.ts";
import { parts, type TestSource, testSource } from "./sources.ts";

const short = (rows: unknown): string => JSON.stringify(rows).slice(0, 1000);
const seed = Number(process.env.SEED ?? Date.now() % 1e6);
const QUERIES = 1_000 * SHARE;
/** To the engine with a `reflexdb.yaml`, whose code is another. */
const CONFIGURED_QUERIES = 150 * SHARE;
const WRITES = 10_000 * SHARE;

describe.each(["mysql", "postgres"] satisfies Dialect[])("%s", (dialect) => {
  describe.skipIf(!parts[dialect].available)("an engine", () => {
    const random = seeded(seed);
    const writer = new Writer(random, dialect);
    let source: TestSource;
    let engine: EngineProcess;
    let configured: EngineProcess;

    beforeAll(async () => {
      source = await testSource(dialect);
      await source.run(...writer.definitions());
      for (let i = 0; i < 60; i++) await source.run(...writer.transaction());
      engine = await EngineProcess.create(source.connection, { instance: "differential" });
      configured = await EngineProcess.create(source.connection, { instance: "configured", yaml: CONFIG });
      engine.start();
      configured.start();
      await engine.serving();
      await configured.serving();
    });
    afterAll(async () => {
      await engine?.remove();
      await configured?.remove();
      await source?.close();
    });

    const compare = async (count: number, of: EngineProcess = engine, tables: readonly Table[] = TABLES) => {
      const position = await source.position();
      for (let i = 0; i < count; i++) {
        const list = randomList(random, dialect, tables);
        const text = textOf(list);
        const { body, status } = await of.ask(text, { "min-position": position });
        if (status !== 200) throw new Error(`seed ${seed}: ${text}\n${JSON.stringify(body)}\n${of.said.slice(-1500)}`);
        const wanted = await answerOf(list, dialect, source.ask);
        if (!isDeepStrictEqual(body, wanted))
          throw new Error(`seed ${seed}: ${text}\nours:   ${short(body)}\nsource: ${short(wanted)}`);
      }
    };

    const compareConfigured = () => compare(CONFIGURED_QUERIES, configured, CONFIGURED);

    test("answers as the source does", () => compare(QUERIES), 120_000);
    test("answers as the source does under the names, columns and rows of its configuration", compareConfigured);

    test("answers as the source does after many writes", async () => {
      writer.written = 0;
      for (let part = 0; part < 4; part++) {
        while (writer.written < (WRITES / 4) * (part + 1)) await source.run(...writer.transaction());
        if (part === 1)
          await source.run("ALTER TABLE orders ADD COLUMN further INTEGER", "CREATE INDEX more ON customers (age)");
        if (part === 2)
          await source.run(
            dialect === "mysql" ? "SET FOREIGN_KEY_CHECKS = 0" : "SELECT 1",
            "TRUNCATE TABLE items",
            ...(dialect === "mysql" ? ["SET FOREIGN_KEY_CHECKS = 1"] : []),
          );
        await compare(part === 3 ? QUERIES : 100 * SHARE);
      }
      await compareConfigured();
      const health = await engine.health();
      expect(health?.replication.resyncs).toBe(0);
      // Row by row, but for what the log does not have.
      const again = [...engine.said.matchAll(/"text":"(\w+ is read again: [^"]*)"/g)].map(([, text]) => text);
      const expected = /: (a foreign key changes it|ALTER may have changed)/;
      expect(again.filter((text) => !expected.test(text ?? ""))).toEqual([]);
    }, 240_000);
  });
});
