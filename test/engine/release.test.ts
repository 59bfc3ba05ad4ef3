// What engines have made at a real PostgreSQL, and how it goes.
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { SourceConnection } from "../../contract/engine.ts";
import { removalStatements } from "../../contract/source-traces.ts";
import { LeftSlots, releasePostgres, releaseUnused } from "../../engine/source/postgres/traces.ts";
import { EngineProcess } from "./engine-process.ts";
import { parts, testSource } from "./sources.ts";

const SLOTS = "SELECT slot_name::text AS name FROM pg_replication_slots ORDER BY 1";
const PUBLICATIONS = "SELECT pubname::text AS name FROM pg_publication ORDER BY 1";
const slot = (name: string) => `SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')`;

async function start() {
  const source = await testSource("postgres");
  onTestFinished(() => source.close());
  await source.run(
    "CREATE TABLE users (id INTEGER PRIMARY KEY)",
    "CREATE PUBLICATION lamplighter_inst_1 FOR TABLE users",
    ...["lamplighter_inst_1_g3", "lamplighter_inst_1_g41", "lamplighter_inst_12_g1"].map(slot),
    "CREATE PUBLICATION lamplighter_inst_12 FOR TABLE users",
  );
  const names = async (sql: string) => (await source.ask(sql)).map(({ name }) => name);
  return { source, connection: SourceConnection.parse(source.connection), names };
}

test.skipIf(!parts.postgres.available)("slots go though somebody reads from them, and others' stay", async () => {
  const { connection, names } = await start();
  const { host, port, user, password, database } = connection;
  const reader = new pg.Client({ host, port, user, password, database, replication: "database" } as pg.ClientConfig);
  reader.on("error", () => {});
  await reader.connect();
  reader
    .query(
      "START_REPLICATION SLOT lamplighter_inst_1_g41 LOGICAL 0/0 (proto_version '1', publication_names 'lamplighter_inst_1')",
    )
    .catch(() => {});
  expect(await releasePostgres(connection, "inst_1")).toEqual([]);
  expect([await names(SLOTS), await names(PUBLICATIONS)]).toEqual([
    ["lamplighter_inst_12_g1"],
    ["lamplighter_inst_12"],
  ]);
  expect(await releasePostgres(connection, "inst_1")).toEqual([]);
});

test.skipIf(!parts.postgres.available)(
  "an engine that goes takes the publication when it has the last slot",
  async () => {
    const { source, connection, names } = await start();
    expect(await releaseUnused(connection, "inst_1"), "others have slots").toBeNull();
    expect(await names(PUBLICATIONS)).toContain("lamplighter_inst_1");
    await source.run(
      ...["lamplighter_inst_1_g3", "lamplighter_inst_1_g41"].map(
        (name) => `SELECT pg_drop_replication_slot('${name}')`,
      ),
    );
    await source.run("CREATE ROLE reader LOGIN REPLICATION PASSWORD 'secret'");
    const left = await releaseUnused({ ...connection, user: "reader" }, "inst_1");
    expect(left).toEqual(['DROP PUBLICATION IF EXISTS "lamplighter_inst_1"']);
    expect(await releaseUnused(connection, "inst_1")).toEqual([]);
    expect(await names(PUBLICATIONS)).toEqual(["lamplighter_inst_12"]);
  },
);

test.skipIf(!parts.postgres.available)("what the user may not take away is answered as it is taken away", async () => {
  const { source, connection, names } = await start();
  await source.run("CREATE ROLE reader LOGIN REPLICATION PASSWORD 'secret'");
  const left = await releasePostgres({ ...connection, user: "reader" }, "inst_1");
  expect(left).toEqual(['DROP PUBLICATION IF EXISTS "lamplighter_inst_1"']);
  expect(await names(SLOTS)).toEqual(["lamplighter_inst_12_g1"]);
  await source.run(...left);
  expect(await names(PUBLICATIONS)).toEqual(["lamplighter_inst_12"]);
});

test.skipIf(!parts.postgres.available)("the statements for whoever administers it take all of it away", async () => {
  const { source, names } = await start();
  await source.run(...removalStatements("inst_1"));
  expect([await names(SLOTS), await names(PUBLICATIONS)]).toEqual([
    ["lamplighter_inst_12_g1"],
    ["lamplighter_inst_12"],
  ]);
});

test.skipIf(!parts.postgres.available)("an engine that serves takes away what nobody reads from for long", async () => {
  const { source, connection, names } = await start();
  const { host, port, user, password, database } = connection;
  const client = new pg.Client({ host, port, user, password, database } as pg.ClientConfig);
  await client.connect();
  onTestFinished(() => client.end());
  const left = new LeftSlots("lamplighter_inst_1_g41", "inst_1");
  const minutes = (n: number) => left.look(client, n * 60_000);
  await minutes(0);
  await minutes(29);
  expect(await names(SLOTS), "it may be of an engine that loads").toContain("lamplighter_inst_1_g3");
  await source.run(slot("lamplighter_inst_1_g44"));
  await minutes(30);
  expect(await names(SLOTS)).toEqual(["lamplighter_inst_12_g1", "lamplighter_inst_1_g41", "lamplighter_inst_1_g44"]);
});

test.skipIf(!parts.postgres.available)("a source keeps no log for an engine that its drift has stopped", async () => {
  const source = await testSource("postgres");
  onTestFinished(() => source.close());
  await source.run("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO users VALUES (1, 'ann')");
  const engine = await EngineProcess.create(source.connection, { instance: "drifting" });
  onTestFinished(() => engine.remove());
  engine.start();
  await engine.serving();
  const slots = async () => (await source.ask(SLOTS)).map(({ name }) => name);
  expect(await slots()).toEqual(["lamplighter_drifting_g0"]);
  await source.run("ALTER TABLE users RENAME COLUMN name TO title", "UPDATE users SET title = 'bob'");
  await engine.until("left", ({ replication }) => /its slot is dropped/.test(replication.reason?.message ?? ""));
  expect(await slots()).toEqual([]);
  expect((await engine.ask("users { name }")).body).toEqual([{ name: "ann" }]);
  // When it fits again everything is read anew, and followed from there.
  await source.run("ALTER TABLE users RENAME COLUMN title TO name");
  await engine.until("live again", ({ replication }) => replication.state === "live");
  await source.run("INSERT INTO users VALUES (2, 'cy')");
  const fresh = { "min-position": await source.position() };
  expect((await engine.ask("users { name }", fresh)).body).toEqual([{ name: "bob" }, { name: "cy" }]);
  expect(await slots()).toEqual(["lamplighter_drifting_g0"]);
});
