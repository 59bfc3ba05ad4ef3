// What differs by PostgreSQL's version, on those that neither Debian nor lamplighter's own package bring: other tests run on 15, and on 18.
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Installation } from "../../agent/postgres/binaries.ts";
import { KeeperClient } from "../../agent/postgres/keeper-client.ts";
import type { StartOrder } from "../../agent/postgres/writer.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { Connection } from "../../postgres/connection.ts";
import { scratch } from "../scratch.ts";
import { client, installationForTests, orderFor, PostgresHost, until, verifier } from "./postgres-host.ts";
import { MAJORS, versionOf } from "./postgres-versions.ts";
import { expectNoRights } from "./user-rights.ts";

const dataDir = scratch("keeper");
const found = await Promise.all(MAJORS.map(versionOf));
let keeper: Keeper;

beforeAll(async () => {
  keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
});
afterAll(async () => {
  await keeper?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

async function rowsOf(order: StartOrder): Promise<string> {
  const sql = await client(order);
  const rows = await sql.query("SELECT i FROM t ORDER BY i");
  sql.end();
  return rows.map(({ i }) => i).join();
}

async function insert(order: StartOrder, i: number): Promise<string> {
  const sql = await client(order);
  await sql.query(`INSERT INTO t VALUES (${i})`);
  const [at] = await sql.query("SELECT pg_current_wal_insert_lsn() AS lsn");
  sql.end();
  return at?.lsn ?? "";
}

describe.each(MAJORS.map((major, i) => ({ major, found: found[i] })))("PostgreSQL $major", ({ major, found }) => {
  const id = `db_${major}`;
  let host: PostgresHost;
  let other: PostgresHost;
  /** What is on the first of them beside that version. */
  let present: Installation[] = [];
  /** The one that runs at the end of a test, if one does. */
  let latest: StartOrder;

  beforeAll(async () => {
    if (!found) return;
    const installation: Installation = found;
    host = await PostgresHost.make({ installation, installations: async () => present });
    other = await PostgresHost.make({ installation });
  });
  afterAll(async () => {
    await host?.close();
    await other?.close();
  });

  test.skipIf(!found)("created, stopped and started, killed, wiped: every rung, and nothing is lost", async () => {
    const first = await orderFor(id, 1, [keeper]);
    expect(await host.start(first)).toMatchObject({ rung: 3 });
    const sql = await client(first);
    const [said] = await sql.query("SELECT current_setting('server_version') AS version");
    expect(said?.version).toMatch(new RegExp(`^${major}\\.`));
    await sql.query("SET synchronous_commit = remote_apply; CREATE TABLE t (i int)");
    sql.end();
    await insert(first, 1);
    expect(await new KeeperClient(keeper, id).status()).toMatchObject({ writer_term: 1, restorable: true });
    expect(await host.writers.stop(first)).toEqual({ clean: true });

    const second = await orderFor(id, 2, [keeper]);
    expect(await host.start(second)).toMatchObject({ rung: 3, restoredBytes: 0 });
    await insert(second, 2);
    await host.crash(id);
    const third = await orderFor(id, 3, [keeper]);
    expect(await host.start(third)).toMatchObject({ rung: 5, restoredBytes: 0 });
    expect(await host.start(third)).toMatchObject({ rung: 1 });
    await insert(third, 3);
    await host.wipe(id);
    const fourth = await orderFor(id, 4, [keeper]);
    expect(await host.start(fourth)).toMatchObject({ rung: 7 });
    expect(await rowsOf(fourth)).toBe("1,2,3");
    await until("the keeper is on timeline 2", async () => {
      const { timeline, writer_term } = await new KeeperClient(keeper, id).status();
      return timeline === 2 && writer_term === 4;
    });
    latest = fourth;
  });

  test.skipIf(!found)("restored to a moment, by position and by time, as a database of its own", async () => {
    const lsn = await insert(latest, 4);
    await insert(latest, 5);
    await sleep(50);
    const time = Date.now();
    await sleep(50);
    await insert(latest, 6);
    const naming = { name: "copy", owner: { role: "copy_owner", verifier: await verifier() } };
    const copy = async (name: string, target: { lsn: string } | { time: number }) => {
      const order = await orderFor(`${id}_${name}`, 1, [keeper], { naming, from: { database: id, target } });
      expect(await other.start(order)).toMatchObject({ rung: 7 });
      const rows = await rowsOf(order);
      await other.writers.stop(order);
      return rows;
    };
    // Nothing was committed between the last commit and now.
    const copies = [copy("position", { lsn }), copy("time", { time }), copy("later", { time: Date.now() })];
    expect(await Promise.all(copies)).toEqual(["1,2,3,4", "1,2,3,4,5", "1,2,3,4,5,6"]);
  });

  test.skipIf(!found)(
    "another host takes over: the older writer has no commit acknowledged, here or there",
    async () => {
      const sql = await client(latest);
      const newer = await orderFor(id, 5, [keeper]);
      expect(await other.start(newer)).toMatchObject({ rung: 7 });
      const late = sql.query("INSERT INTO t VALUES (7)").then(
        () => "acknowledged",
        () => "cut off",
      );
      expect(await Promise.race([late, sleep(1_000, "waits")])).toBe("waits");
      await insert(newer, 8);
      await host.crash(id);
      expect(await late).toBe("cut off");
      await expect(other.start(latest)).rejects.toMatchObject({ code: "stale_term" });
      // Its copy, which has what was never acknowledged, is known to be old.
      await other.writers.stop(newer);
      latest = await orderFor(id, 6, [keeper]);
      expect(await host.start(latest)).toMatchObject({ rung: 7 });
      expect(await rowsOf(latest)).toBe("1,2,3,4,5,6,8");
    },
  );

  test.skipIf(!found)("the owner gets in by SCRAM only, and may do nothing to the server", async () => {
    const { postmaster } = await host.start(latest);
    const { listen, naming } = latest;
    const door = { host: listen.host, port: listen.port, user: naming.owner.role, database: naming.name };
    const refused = expect.objectContaining({ code: "28P01" });
    await expect(Connection.open({ ...door, password: "another" })).rejects.toEqual(refused);
    const inside = await postmaster.connect("postgres");
    const [role] = await inside.query(`SELECT rolpassword FROM pg_authid WHERE rolname = '${naming.owner.role}'`);
    inside.end();
    expect(role?.rolpassword).toBe(await verifier());
    await expectNoRights(latest, postmaster.pid.pid);
    await host.writers.stop(latest);
  });

  test.skipIf(!found)("never opens what another version made, be it a copy here or a keeper's", async () => {
    const maker = await PostgresHost.make({ installation: await installationForTests() });
    const made = `db_before_${major}`;
    const first = await orderFor(made, 1, [keeper]);
    await maker.start(first);
    const sql = await client(first);
    await sql.query("CREATE TABLE t AS SELECT 1 AS i");
    sql.end();
    await maker.writers.stop(first);
    const refusal = {
      code: "wrong_version",
      message: `it was made by PostgreSQL ${(await installationForTests()).major}, and this host has ${major} only`,
    };
    const second = await orderFor(made, 2, [keeper], { served_term: 1 });
    await expect(host.start(second)).rejects.toMatchObject(refusal);
    // Nothing was fetched for it.
    expect(existsSync(host.writers.cluster(made).pgdata)).toBe(false);
    const [own, moved] = [maker, host].map(({ root }) => join(root, "clusters", made)) as [string, string];
    rmSync(moved, { recursive: true, force: true });
    renameSync(own, moved);
    const third = await orderFor(made, 3, [keeper], { served_term: 1 });
    await expect(host.start(third)).rejects.toMatchObject(refusal);
    // As good as before once there is what can open it, though it was looked for in vain.
    present = [await installationForTests()];
    const fourth = await orderFor(made, 4, [keeper], { served_term: 1 });
    expect(await host.start(fourth)).toMatchObject({ rung: 3 });
    expect(await rowsOf(fourth)).toBe("1");
    await host.writers.stop(fourth);
    await maker.close();
  });
});
