// A source, a control plane and a host with real engines.
import { readFileSync } from "node:fs";
import { expect, type TestContext } from "vitest";
import type { ConnectionView } from "../../contract/connection.ts";
import type { InstanceView } from "../../contract/instance.ts";
import { isStable } from "../../contract/instance-status.ts";
import type { Dialect } from "../engine/shop.ts";
import { type TestSource, testSource } from "../engine/sources.ts";
import { until } from "./client.ts";
import { Cluster } from "./cluster.ts";
import type { Live } from "./world.ts";

export const PASSWORD = "a passing secret of the source";

const SHOP = [
  "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL)",
  "CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, title VARCHAR(40), published INTEGER NOT NULL, FOREIGN KEY (user_id) REFERENCES users (id))",
  "INSERT INTO users VALUES (1, 'ann'), (2, 'bob')",
  "INSERT INTO posts VALUES (1, 1, 'first', 1), (2, 2, 'draft', 0)",
];
export const WITH_POSTS = "users(posts.published = 1) { name posts(published = 1) { title } }";

/** A user of its own, so that its password is nowhere else. */
const userOf = (dialect: Dialect): string[] =>
  dialect === "mysql"
    ? [
        `CREATE USER reader@'127.0.0.1' IDENTIFIED BY '${PASSWORD}'`,
        "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO reader@'127.0.0.1'",
      ]
    : [`CREATE ROLE reader SUPERUSER LOGIN PASSWORD '${PASSWORD}'`];

/** A source, a cluster of one host, and an instance that is registered there. @param line the port at which the source is reached */
export async function start(
  { onTestFinished }: Pick<TestContext, "onTestFinished">,
  dialect: Dialect,
  line: (source: TestSource) => Promise<number> = async (source) => source.connection.port,
) {
  const source = await testSource(dialect);
  onTestFinished(() => source.close());
  await source.run(...SHOP, ...userOf(dialect));
  const cluster = await Cluster.start([{ name: "one" }], { docker: null, keepAnswers: true });
  onTestFinished(() => cluster.close());
  const { namespace } = cluster;
  const send = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const { status, text } = await cluster.client.send(method, path, body === undefined ? {} : { body });
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
    return (text === "" ? null : JSON.parse(text)) as T;
  };
  const { kind, host, database = null, schema } = source.connection;
  const port = await line(source);
  const address = { kind, host, port, user: "reader", password: PASSWORD, database, tls: "disable", schemas: [schema] };
  const connection = await send<ConnectionView>("POST", "/connections", { name: "src", namespace, ...address });
  const { id } = await send<InstanceView>("POST", "/instances", {
    ...{ name: "read", namespace, connection_id: connection.id, schema },
  });
  const view = () => send<InstanceView>("GET", `/instances/${id}`);
  let last: InstanceView | null = null;
  const when = (what: string, is: (view: InstanceView) => boolean, withinMs?: number): Promise<InstanceView> =>
    until(
      () => `${what}: ${JSON.stringify(last)}`,
      async () => {
        last = await view();
        return is(last) && last;
      },
      withinMs,
    );
  const act = async (action: string): Promise<InstanceView> => {
    await send("POST", `/instances/${id}/${action}`);
    const rested = await when(`${action} does not come to rest`, ({ status }) => isStable(status));
    expect(rested.last_error, action).toBe(null);
    return rested;
  };
  return { cluster, source, connection, id, send, view, when, act };
}

export async function ask(of: InstanceView, query: string, key: string, headers: Record<string, string> = {}) {
  const authorization = `Bearer ${key}`;
  const response = await fetch(`${of.endpoint_url}/query`, {
    ...{ method: "POST", body: query, headers: { authorization, ...headers } },
  });
  return { status: response.status, body: (await response.json()) as unknown };
}

/** What engines have left at a source. */
export const traces = async (source: TestSource): Promise<unknown[]> =>
  source.dialect === "mysql"
    ? []
    : source.ask("SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname::text FROM pg_publication");

/** Which of an engine's processes answers queries; the other is the program beside it. */
export function answering({ pids }: Live): number {
  const pid = pids.find((each) => readFileSync(`/proc/${each}/cmdline`, "latin1").includes(".mjs"));
  if (pid === undefined) throw new Error("no engine runs there");
  return pid;
}
