import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WriterLimits } from "../../agent/postgres/limits.ts";
import { processesOf } from "../../agent/postgres/postmaster.ts";
import { Cgroups, pidsIn } from "../../agent/process/cgroup.ts";
import { PROFILES } from "../../contract/database-profile.ts";
import { requires } from "../requires.ts";
import { client, orderFor, PostgresHost } from "./postgres-host.ts";

const cgroups = await requires("cgroups");

describe.skipIf(!cgroups.available)("the limits of a writer that is a process", () => {
  let host: PostgresHost;
  let limits: WriterLimits;
  beforeAll(async () => {
    limits = await WriterLimits.find(`/no/such/folder/${process.pid}`);
    host = await PostgresHost.make({ limits });
  });
  afterAll(() => host?.close());

  const dirsOf = async (database: string): Promise<string[]> => {
    const [any = ""] = (await Cgroups.find()).dirs("");
    const own = readFileSync(`/proc/${await postmasterOf(database)}/cgroup`, "utf8");
    const name = new RegExp(`/(postgres-[0-9a-f]{8}-${database})$`, "m").exec(own)?.[1] ?? "none";
    expect(any).not.toBe("");
    return (await Cgroups.find()).dirs(name);
  };
  const postmasterOf = async (database: string): Promise<number> => {
    const { pgdata } = host.writers.cluster(database);
    return Number(readFileSync(join(pgdata, "postmaster.pid"), "utf8").split("\n")[0]);
  };
  const said = (dirs: string[], ...files: string[]): string | undefined =>
    dirs
      .flatMap((dir) => files.map((file) => join(dir, file)))
      .filter(existsSync)
      .map((path) => readFileSync(path, "utf8").trim())[0];

  test("are those of its profile, hold all that it starts, and go with it", async () => {
    const order = await orderFor("db_held", 1, []);
    await host.start(order);
    const sql = await client(order);
    await expect.poll(async () => (await dirsOf("db_held")).length).toBeGreaterThan(0);
    const dirs = await dirsOf("db_held");
    const { pgdata } = host.writers.cluster("db_held");
    await expect.poll(() => processesOf(pgdata).filter((pid) => !pidsIn(dirs).includes(pid))).toEqual([]);
    expect(processesOf(pgdata).length).toBeGreaterThan(4);
    const { memory_bytes, cpu_millis } = PROFILES.L1;
    expect(Number(said(dirs, "memory.max", "memory.limit_in_bytes"))).toBe(memory_bytes);
    expect(said(dirs, "cpu.max", "cpu.cfs_quota_us")).toMatch(new RegExp(`^${cpu_millis * 100}\\b`));
    sql.end();

    const larger = { ...(await orderFor("db_held", 2, [])), profile: "L2" as const, served_term: 1 };
    await host.writers.stop(order);
    await host.start(larger);
    await expect.poll(() => Number(said(dirs, "memory.max", "memory.limit_in_bytes"))).toBe(PROFILES.L2.memory_bytes);
    expect(await limits.wasOutOfMemory("db_held")).toBe(false);
    await host.writers.stop(larger);
    await limits.release("db_held");
    expect(dirs.filter(existsSync)).toEqual([]);
  });
});
