// Writers in containers: the same ladder, one rung lower.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { processesOf } from "../../agent/postgres/postmaster.ts";
import { imageInstallation } from "../../agent/postgres/program.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { requires } from "../requires.ts";
import { scratch } from "../scratch.ts";
import { client, orderFor, PostgresHost, until } from "./postgres-host.ts";
import { ensurePostgresImage } from "./postgres-image.ts";

const available = (await requires("docker")).available && (await requires("postgres")).available;
const image = available ? await ensurePostgresImage() : null;

describe.skipIf(image === null)("in a container", () => {
  const dataDir = scratch("keeper");
  let keeper: Keeper;
  let host: PostgresHost;

  beforeAll(async () => {
    const installation = await imageInstallation(image ?? "");
    if (installation === null) throw new Error(`${image} does not run`);
    keeper = await runKeeper({ dataDir, listen: { host: "127.0.0.1", port: 0 } });
    host = await PostgresHost.make({ installation });
  });
  afterAll(async () => {
    await host?.close();
    await keeper?.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const containers = () =>
    execFileSync("docker", ["ps", "-a", "--filter", `ancestor=${image}`, "-q"], { encoding: "utf8" });
  const rowsOf = async (order: Awaited<ReturnType<typeof orderFor>>): Promise<number> => {
    const sql = await client(order);
    const [row] = await sql.query("INSERT INTO t VALUES (1); SELECT count(*) AS n FROM t");
    sql.end();
    return Number(row?.n);
  };

  test("created, stopped and started, killed, wiped: as on the host itself, and no container is left", async () => {
    const first = await orderFor("db_box", 1, [keeper]);
    const { rung, postmaster } = await host.start(first);
    expect(rung).toBe(4);
    const sql = await client(first);
    await sql.query("CREATE TABLE t (i int)");
    sql.end();
    expect(await rowsOf(first)).toBe(1);
    // Its processes are this host's, and held to the profile.
    expect(readFileSync(`/proc/${postmaster.pid.pid}/cgroup`, "utf8")).toContain("docker");
    const [id = ""] = containers().split("\n");
    const limits = execFileSync("docker", ["inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", id]);
    expect(limits.toString().trim()).toBe(`${1024 ** 3} 1000000000`);
    expect(await host.writers.stop(first)).toEqual({ clean: true });

    const second = await orderFor("db_box", 2, [keeper]);
    expect(await host.start(second)).toMatchObject({ rung: 4, restoredBytes: 0 });
    expect(await rowsOf(second)).toBe(2);
    await host.crash("db_box");
    const third = await orderFor("db_box", 3, [keeper]);
    expect(await host.start(third)).toMatchObject({ rung: 5 });
    expect(await rowsOf(third)).toBe(3);
    await host.wipe("db_box");
    const fourth = await orderFor("db_box", 4, [keeper]);
    expect(await host.start(fourth)).toMatchObject({ rung: 7 });
    expect(await rowsOf(fourth)).toBe(4);
    await host.writers.stop(fourth);
    expect(processesOf(host.writers.cluster("db_box").pgdata)).toEqual([]);
    await until("no container is left", async () => containers() === "");
  });
});
