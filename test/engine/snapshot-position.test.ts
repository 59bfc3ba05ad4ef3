// A snapshot of MariaDB and the position that it is said to be of, while the log goes on from file to file.
import { setTimeout as sleep } from "node:timers/promises";
import type { RowDataPacket } from "mysql2/promise";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SourceConnection } from "../../contract/engine.ts";
import { connectMysql } from "../../engine/source/connect.ts";
import { beginSnapshot } from "../../engine/source/mysql/load.ts";
import { parts, type TestSource, testSource } from "./sources.ts";

const FOR_MS = 6_000;
const READERS = 3;

describe.skipIf(!parts.mysql.available)("a snapshot of MariaDB", () => {
  let source: TestSource;

  beforeAll(async () => {
    source = await testSource("mysql", ["--max-binlog-size=4096"]);
  });
  afterAll(() => source?.close());

  test("has all transactions up to its position, and none after it, also where a file of the log has just begun", async () => {
    await source.run("CREATE TABLE counted (n INTEGER PRIMARY KEY)");
    const first = Number((await source.position()).split("-")[2]);
    const end = performance.now() + FOR_MS;
    let n = 0;
    const writing = (async () => {
      while (performance.now() < end) {
        await source.run(`INSERT INTO counted VALUES (${++n})`);
        if (n % 3 === 0) await sleep(60 * Math.random());
      }
    })();
    const differences = new Map<number, number>();
    const reading = async () => {
      const connection = await connectMysql(SourceConnection.parse(source.connection));
      while (performance.now() < end) {
        const { gtids } = await beginSnapshot(connection, true);
        const [[row]] = await connection.query<RowDataPacket[]>("SELECT COALESCE(MAX(n), 0) AS n FROM counted");
        await connection.query("ROLLBACK");
        const difference = Number(gtids?.get(0)?.number) - first - Number(row?.n);
        differences.set(difference, (differences.get(difference) ?? 0) + 1);
      }
      connection.destroy();
    };
    await Promise.all([writing, ...Array.from({ length: READERS }, reading)]);
    expect(n).toBeGreaterThan(50);
    expect([...differences.keys()]).toEqual([0]);
  });
});
