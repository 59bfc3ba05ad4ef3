// `lamplighter up` with databases: how it starts, what is left of them however it ends, and what it refuses.

import { createServer, type Server } from "node:net";
import { join } from "node:path";
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { processes } from "../../cli/up/process-table.ts";
import type { DatabaseView } from "../../contract/database.ts";
import { freePort } from "../free-port.ts";
import { requires } from "../requires.ts";
import { until } from "./client.ts";
import { type Running, UpSite } from "./up-process.ts";

const postgres = await requires("postgres");

let site: UpSite;
let gatewayPort = 0;
let dsn = "";
let database: DatabaseView;
const flags = () => ["--runtime", "process,postgres", "--gateway-port", String(gatewayPort)];

async function connect(connectionString = dsn): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 20_000 });
  client.on("error", () => {});
  await client.connect();
  return client;
}

const gatewayPid = (): number => {
  const own = ["gateway", "--data", join(site.data, "gateway")].join(" ");
  return processes().find(({ command }) => command.includes(own))?.pid ?? 0;
};

async function listenOn(port: number): Promise<Server> {
  const server = createServer();
  await new Promise<void>((done, fail) => server.once("error", fail).listen(port, "127.0.0.1", done));
  return server;
}

beforeAll(async () => {
  site = new UpSite(await freePort());
  gatewayPort = await freePort();
  await site.start(...flags());
});

afterEach(({ task }) => {
  if (task.result?.state === "fail") console.log(site.up?.output());
});

afterAll(() => site?.close([database?.id].filter((id) => id !== undefined)));

test("a database is made with the CLI, and woken by a driver and by psql", async () => {
  const made = await site.cli(["database", "create", "shop", "-o", "json"]);
  expect(made.code, made.output).toBe(0);
  const answer = JSON.parse(made.output) as DatabaseView & { dsn: string; password: string };
  ({ dsn } = answer);
  database = answer;
  expect(dsn).toContain(`@127.0.0.1:${gatewayPort}/shop`);
  expect(database.state).toBe("stopped");
  const client = await connect();
  await client.query("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
  await client.end();
  const asked = await site.cli(["database", "connect", "shop", "--", "-tAc", "SELECT n FROM t"], {
    PATH: `${postgres.path}:${process.env.PATH}`,
    PGPASSWORD: answer.password,
  });
  expect(asked).toEqual({ code: 0, output: "1\n" });
  const PGPASSWORD = answer.password;
  const without = await site.cli(["database", "query", "shop", "SELECT n FROM t", "-o", "json"], { PGPASSWORD });
  expect([without.code, JSON.parse(without.output)]).toEqual([0, [{ n: 1 }]]);
  const wrong = await site.cli(["database", "query", "shop", "SELECT 1"], { PGPASSWORD: "wrong" });
  expect([wrong.code, wrong.output]).toEqual([2, expect.stringContaining("28P01: password authentication failed")]);
  const unknown = await site.cli(["database", "query", "shop", "SELECT x"], { PGPASSWORD });
  expect([unknown.code, unknown.output]).toEqual([1, expect.stringContaining('42703: column "x" does not exist')]);
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 0],
  ["SIGKILL", null],
] as const)(
  "up is ended by %s with sessions open: what was committed is there, what was not is not",
  async (signal, code) => {
    const idle = await connect();
    const busy = await connect();
    const { rows } = await idle.query("INSERT INTO t SELECT max(n) + 1 FROM t RETURNING n");
    await busy.query("BEGIN; INSERT INTO t VALUES (1000)");
    const ended = await site.signal(signal);
    expect(ended.code, ended.output).toBe(code);
    // Killed, it leaves its programs behind, which the next one ends.
    if (signal !== "SIGKILL") expect([site.programs(), await site.isAwake(database.id)]).toEqual([[], false]);
    await site.start(...flags());
    expect(site.programs()).toHaveLength(4);
    for (const gone of [idle, busy]) {
      await expect(gone.query("SELECT 1")).rejects.toThrow();
      await gone.end().catch(() => {});
    }
    const again = await connect();
    expect((await again.query("SELECT max(n) AS n FROM t")).rows).toEqual(rows);
    await again.end();
    // It was stopped in good order, and its copy here is whole.
    const { output } = await site.cli(["database", "inspect", "shop", "-o", "json"]);
    if (signal !== "SIGKILL") expect(JSON.parse(output)).toMatchObject({ last_start: { rung: 3 } });
  },
);

test("every process of it is killed, and PostgreSQL too: what was committed is there", async () => {
  const client = await connect();
  const { rows } = await client.query("INSERT INTO t SELECT max(n) + 1 FROM t RETURNING n");
  await site.killAll(database.id);
  await site.start(...flags());
  const again = await connect();
  expect((await again.query("SELECT max(n) AS n FROM t")).rows).toEqual(rows);
  await again.end();
});

test("a second up on the same folder is refused, and disturbs nothing", async () => {
  const client = await connect();
  const { child } = site.up as Running;
  const second = await site.cli(["up", "--port", String(await freePort()), "--data", site.data, ...flags()]);
  expect(second.code).toBe(1);
  expect(second.output).toContain(`already running on ${site.data}: process ${child.pid}`);
  expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  await client.end();
});

test("a port that is taken is named, with the flag that chooses another", async () => {
  const other = new UpSite(await freePort());
  const taken = await freePort();
  const server = await listenOn(taken);
  try {
    const runtime = ["--runtime", "process,postgres", "--data", other.data];
    const free = String(await freePort());
    const api = await other.cli(["up", "--port", String(taken), "--gateway-port", free, ...runtime]);
    const gateway = await other.cli(["up", "--port", free, "--gateway-port", String(taken), ...runtime]);
    for (const [{ code, output }, flag] of [
      [api, "--port"],
      [gateway, "--gateway-port"],
    ] as const) {
      expect(code, output).toBe(5);
      expect(output).toContain(`port ${taken} is in use by process ${process.pid}`);
      expect(output).toContain(`choose another port with ${flag}.`);
    }
    expect(other.programs()).toEqual([]);
  } finally {
    server.close();
    await other.close([]);
  }
});

test("its gateway is killed: who connects next waits for the one that takes its place, and nobody can take the port", async () => {
  const pid = gatewayPid();
  expect(pid).not.toBe(0);
  process.kill(pid, "SIGKILL");
  const coming = connect();
  await expect(listenOn(gatewayPort)).rejects.toMatchObject({ code: "EADDRINUSE" });
  const client = await coming;
  expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  await client.end();
});

test("a gateway that got another port than the usual one keeps it", async () => {
  await site.signal("SIGTERM");
  await site.start("--runtime", "process,postgres");
  expect(site.up?.output()).toContain(`127.0.0.1:${gatewayPort}, made with`);
  const client = await connect();
  await client.end();
});

test("Ctrl-C while it starts, at any moment: nothing is left, and the next start works", async () => {
  await site.signal("SIGTERM");
  for (const moment of [
    "starting the control plane",
    "starting the keeper",
    "starting the agent",
    "waiting for the agent",
    "starting the gateway",
  ]) {
    const starting = site.run(["up", "--port", String(site.port), "--data", site.data, ...flags()]);
    await until(
      () => `never: ${moment}\n${starting.output()}`,
      () => starting.output().includes(moment),
    );
    starting.child.kill("SIGINT");
    expect(await starting.exited, starting.output()).toBe(130);
    expect(site.programs(), moment).toEqual([]);
  }
  await site.start(...flags());
  const client = await connect();
  expect((await client.query("SELECT min(n) AS n FROM t")).rows).toEqual([{ n: 1 }]);
  await client.end();
});
