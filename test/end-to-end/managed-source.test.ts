// An instance whose source is one of our own databases: it is woken only when it is needed, and followed while it is awake.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ConnectionView } from "../../contract/connection.ts";
import type { LeaseView } from "../../contract/database.ts";
import type { InstanceView } from "../../contract/instance.ts";
import type { KeyCreated } from "../../contract/instance-key.ts";
import { isStable } from "../../contract/instance-status.ts";
import { until } from "./client.ts";
import { DatabaseSite, type Made } from "./database-site.ts";

let site: DatabaseSite;
beforeAll(async () => {
  site = await DatabaseSite.start({ hosts: [{ name: "one", runtimes: ["postgres", "process"] }] });
});
afterAll(() => site?.close());

const send = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
  const { status, text } = await site.cluster.client.send(method, path, body === undefined ? {} : { body });
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
  return (text === "" ? null : JSON.parse(text)) as T;
};

async function run(made: Made, ...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = await site.connect(made);
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows;
    return rows;
  } finally {
    await site.end(client);
  }
}

async function when(id: string, what: string, is: (view: InstanceView) => boolean): Promise<InstanceView> {
  let last: InstanceView | null = null;
  return until(
    () => `${what}: ${JSON.stringify(last)}\n${site.logs()}`,
    async () => {
      last = await send<InstanceView>("GET", `/instances/${id}`);
      return is(last) && last;
    },
    40_000,
  );
}

async function act(id: string, action: string): Promise<InstanceView> {
  await send("POST", `/instances/${id}/${action}`);
  const rested = await when(id, `${action} does not come to rest`, ({ status }) => isStable(status));
  expect(rested.last_error, action).toBe(null);
  return rested;
}

async function ask(of: InstanceView, query: string, key: string) {
  const response = await fetch(`${of.endpoint_url}/query`, {
    ...{ method: "POST", body: query, headers: { authorization: `Bearer ${key}` } },
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as unknown };
}

const names = async (of: InstanceView, key: string) =>
  ((await ask(of, "users(order: id) { name }", key)).body as { name: string }[]).map(({ name }) => name);

test("a database of ours is woken to be tested, built from and loaded, and then sleeps beside its engine", async () => {
  const made = await site.create({ name: "shop", idle_timeout: 5 });
  await run(
    made,
    "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL)",
    "CREATE TABLE posts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, title text)",
    "INSERT INTO users VALUES (1, 'ann'), (2, 'bob')",
    "INSERT INTO posts VALUES (1, 1, 'first')",
  );
  await site.state(made.id, "stopped");
  const connection = await send<ConnectionView>("POST", "/connections", {
    ...{ name: "shop", database_id: made.id, schemas: ["public"] },
  });
  expect(connection).toMatchObject({ kind: "postgres", host: null, user: null });
  expect((await site.view(made.id)).state).toBe("stopped");
  const tested = await send<ConnectionView>("POST", `/connections/${connection.id}/test`);
  expect(tested.last_test).toMatchObject({ ok: true, replication: { mode: "logical", ready: true }, findings: [] });
  expect((await site.view(made.id)).last_start).toMatchObject({
    cause: "reader",
    client: { address: connection.id, application_name: "connection test" },
  });

  const { id } = await send<InstanceView>("POST", "/instances", {
    ...{ name: "shop-read", connection_id: connection.id, schema: "public" },
  });
  const running = await act(id, "provision");
  expect(running).toMatchObject({ status: "running", latest_build: { tables: 2 }, database_id: made.id });
  const { key } = await send<KeyCreated>("POST", `/instances/${id}/keys`, { name: "web" });
  await until(
    () => "the key is not known",
    async () => (await ask(running, "users { id }", key)).status === 200,
  );
  expect(await names(running, key)).toEqual(["ann", "bob"]);

  await site.state(made.id, "stopped");
  await when(id, "it does not say that its source sleeps", ({ vitals }) => vitals?.replication === "asleep");
  const asleep = await ask(running, 'users(posts.title = "first") { name }', key);
  expect([asleep.status, asleep.headers.get("x-replication")]).toEqual([200, "asleep"]);
  expect(Number(asleep.headers.get("x-snapshot-age-ms"))).toBeGreaterThan(0);
  const { term } = await site.view(made.id);

  await run(made, "INSERT INTO users VALUES (3, 'cy')");
  await until(
    () => "the row does not arrive",
    async () => (await names(running, key)).length === 3,
  );
  expect((await site.view(made.id)).term).toBe(term + 1);
  await when(id, "it is not live", ({ vitals }) => vitals?.replication === "live");
  await site.state(made.id, "stopped");

  // Restored from its keeper it has no slot any more.
  rmSync(join(site.folder("one", made.id), "pgdata"), { recursive: true, force: true });
  await run(made, "UPDATE users SET name = 'bea' WHERE id = 2");
  await until(
    () => "the gap is not closed",
    async () => (await names(running, key)).includes("bea"),
  );
  let events: { reason: string; message: string }[] = [];
  await until(
    () => `nothing is said of the gap: ${JSON.stringify(events)}`,
    async () => {
      events = await send("GET", `/instances/${id}/events`);
      return events.some(({ reason }) => reason === "replication_resyncing");
    },
  );

  await send("PATCH", `/instances/${id}`, { keep_source_awake: true });
  await act(id, "reconfigure");
  await new Promise((resolve) => setTimeout(resolve, 7_000));
  const { awake_because } = await send<{ awake_because: LeaseView[] }>("GET", `/databases/${made.id}/explain`);
  expect(awake_because.flatMap(({ clients }) => clients)).toMatchObject([
    { address: id, application_name: "replication, as keep_source_awake has it of shop-read" },
  ]);

  await send("PATCH", `/instances/${id}`, { keep_source_awake: false });
  await act(id, "reconfigure");
  await site.state(made.id, "stopped");
  await act(id, "pause");
  await act(id, "terminate");
  const left =
    "SELECT slot_name::text AS name FROM pg_replication_slots WHERE slot_type = 'logical' UNION ALL SELECT pubname FROM pg_publication";
  expect((await site.view(made.id)).last_start).toMatchObject({
    client: { address: id, application_name: "release of shop-read" },
  });
  expect(await run(made, left)).toEqual([]);
  await send("DELETE", `/instances/${id}`);
  await until(
    () => "the connection is still in use",
    async () => (await send<ConnectionView>("GET", `/connections/${connection.id}`)).instances.length === 0,
  );
  await send("DELETE", `/connections/${connection.id}`);
  await until(
    () => "the role of readers is still there",
    async () => (await run(made, "SELECT 1 FROM pg_roles WHERE rolname = 'lamplighter_reader'")).length === 0,
  );
}, 180_000);
