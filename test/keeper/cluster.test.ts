// What a data folder on a host is taken for, after whatever was cut off.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { databaseAccount } from "../../agent/postgres/account.ts";
import type { Installation } from "../../agent/postgres/binaries.ts";
import { Cluster } from "../../agent/postgres/cluster.ts";
import { readControlFile } from "../../agent/postgres/control-file.ts";
import { placeOf } from "../../agent/postgres/place.ts";
import { Template } from "../../agent/postgres/template.ts";
import type { Account } from "../../agent/process/account.ts";
import { scratch } from "../scratch.ts";
import { installationForTests, orderFor, PostgresHost, workshopFolder } from "./postgres-host.ts";

const root = scratch("clusters");
let account: Account;
let installation: Installation;
let template: Template;

beforeAll(async () => {
  account = await databaseAccount();
  installation = await installationForTests();
  template = new Template(workshopFolder(), account);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function fresh(name: string): Promise<Cluster> {
  const cluster = new Cluster(root, name, account);
  await cluster.make();
  await template.copyTo(installation, await cluster.clearIncoming());
  return cluster;
}

test("a copy of the template is a whole cluster with an identity of its own, as PostgreSQL itself reads it", async () => {
  const [a, b] = [await fresh("db_a"), await fresh("db_b")];
  await Promise.all([a.acceptIncoming(), b.acceptIncoming()]);
  const said = execFileSync(join(installation.folder, "pg_controldata"), ["-D", a.pgdata], {
    env: { LC_ALL: "C" },
  }).toString();
  const control = await readControlFile(a.pgdata);
  expect(said).toContain("Database cluster state:               shut down");
  expect(said).toMatch(new RegExp(`system identifier: +${control?.systemIdentifier}`));
  expect(said).not.toContain("WARNING");
  const [localA, localB] = [await a.local(), await b.local()];
  if (localA?.state !== "clean" || localB?.state !== "clean") throw new Error("not clean");
  expect(localA).toMatchObject({ timeline: 1, openedTerm: 0 });
  expect(localA.systemIdentifier).not.toBe(localB.systemIdentifier);
  expect(localA.end).toBe(localB.end);
});

test("what was not brought to disk counts until the machine is started again", async () => {
  const cluster = await fresh("db_synced");
  await cluster.acceptIncoming();
  await cluster.setMark({ opened: 4 });
  expect(await cluster.local()).toMatchObject({ state: "clean", openedTerm: 4 });
  await cluster.setMark({ unsynced: "the boot before" });
  expect(await cluster.local()).toMatchObject({ state: "restoring" });
  await cluster.setMark({ unsynced: "the boot before" });
  await cluster.settle();
  expect(await cluster.local()).toMatchObject({ state: "clean", openedTerm: 4 });
});

test("a restore that was cut off at any step is no copy, and the next one goes through", async () => {
  const cluster = await fresh("db_cut");
  await cluster.acceptIncoming();
  await cluster.setMark({ fence: 6, opened: 6 });
  // Between giving up the old one and accepting the new one.
  await template.copyTo(installation, await cluster.clearIncoming());
  mkdirSync(join(cluster.folder, "outgoing"), { recursive: true });
  execFileSync("mv", [cluster.pgdata, join(cluster.folder, "outgoing", "pgdata")]);
  expect(await cluster.local()).toBeNull();
  await cluster.acceptIncoming();
  expect(await cluster.local()).toMatchObject({ state: "clean", openedTerm: 0 });
  expect(cluster.mark().fence).toBe(6);
  // Another one in its place that never stood either.
  await template.copyTo(installation, await cluster.clearIncoming());
  await cluster.acceptIncoming();
  expect(existsSync(join(cluster.outgoing, "pgdata"))).toBe(true);
  await cluster.settle();
  expect(existsSync(cluster.outgoing)).toBe(false);
  // A restored one whose replay was never finished.
  writeFileSync(join(cluster.pgdata, "recovery.signal"), "");
  expect(await cluster.local()).toMatchObject({ state: "restoring" });
  rmSync(join(cluster.pgdata, "recovery.signal"));
});

test("what is damaged is told from what was cut off, and by what", async () => {
  const cluster = await fresh("db_damaged");
  await cluster.acceptIncoming();
  const spoil = async (path: string, content: Buffer | null, why: string) => {
    const file = join(cluster.pgdata, path);
    const whole = readFileSync(file);
    if (content === null) rmSync(file);
    else writeFileSync(file, content);
    expect(await cluster.local(), path).toMatchObject({ state: "damaged", why: expect.stringContaining(why) });
    writeFileSync(file, whole);
    expect(await cluster.local(), path).toMatchObject({ state: "clean" });
  };
  const controlFile = readFileSync(join(cluster.pgdata, "global/pg_control"));
  await spoil("global/pg_control", null, "pg_control");
  await spoil("global/pg_control", controlFile.subarray(0, 100), "pg_control");
  await spoil("global/pg_control", controlFile.fill(0, 32, 40), "pg_control");
  await spoil("PG_VERSION", Buffer.from("\0\0"), "PG_VERSION");
  const [segment = ""] = readdirSync(join(cluster.pgdata, "pg_wal")).filter((name) => name.length === 24);
  await spoil(`pg_wal/${segment}`, null, "its log: ");
  await spoil(`pg_wal/${segment}`, Buffer.alloc(8192), "its log: ");
});

test("marks that are set at once: none undoes another", async () => {
  const cluster = await fresh("db_marks");
  const again = new Cluster(root, "db_marks", account);
  await Promise.all([
    ...Array.from({ length: 10 }, (_, i) => cluster.setMark({ port: 5_000 + i })),
    again.setMark({ fence: 9 }),
    ...Array.from({ length: 10 }, (_, i) => again.setMark({ opened: i })),
  ]);
  expect(cluster.mark()).toEqual({ fence: 9, opened: 9, port: 5_009, unsynced: null });
});

test("a data folder of a version that this host lacks is left alone, and which one it needs is said", async () => {
  const host = await PostgresHost.make();
  const order = await orderFor("db_version", 1, []);
  await host.start(order);
  await host.writers.stop(order);
  const path = join(host.writers.cluster("db_version").pgdata, "PG_VERSION");
  writeFileSync(path, "14\n");
  const next = await orderFor("db_version", 2, []);
  await expect(host.start(next)).rejects.toThrow("it was made by PostgreSQL 14, and this host has");
  writeFileSync(path, `${installation.major}\n`);
  expect(await host.start({ ...next, term: 3 })).toMatchObject({ rung: 3 });
  await host.close();
});

test("what a database had on this host goes with it, its socket's folder too where the path is long", async () => {
  const cluster = new Cluster(join(root, "a-folder-whose-name-is-long".repeat(5)), "db_long", account);
  await cluster.make();
  const { socketFolder } = await placeOf(cluster, 1, account);
  expect([socketFolder.startsWith(cluster.folder), existsSync(socketFolder)]).toEqual([false, true]);
  await cluster.remove();
  expect([cluster.folder, socketFolder].map((folder) => existsSync(folder))).toEqual([false, false]);
});
