import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { SourceConnection, SyncSettings } from "../contract/engine.ts";
import type { Engine } from "../engine/run.ts";
import { keyText } from "../engine/serve/keys.ts";
import { openSource } from "../engine/source/open.ts";
import { EngineProcess, SECRET } from "../test/engine/engine-process.ts";
import { parts, type TestSource, testSource } from "../test/engine/sources.ts";
import { distribution } from "./distribution.ts";
import { atLeast, atMost, type Figure, type Line, type Setting } from "./figure.ts";
import { type Loaded, load } from "./load.ts";
import { sqlLoad } from "./sql-load.ts";

const CONNECTIONS = 8;
const USERS = 10_000;
const POSTS = 5 * USERS;
const COMMENTS = 3 * POSTS;
const DIFFERENT = 200;
const WARM_MS = 1500;

type Question = { what: string; query: (i: number) => string; sql: (i: number) => string; atLeast?: number };

const id = (i: number): number => 1 + ((i * 7919) % (USERS - 20));

const QUESTIONS: readonly Question[] = [
  {
    what: "point lookup",
    query: (i) => `users(id = ${id(i)}) { * }`,
    sql: (i) => `SELECT * FROM users WHERE id = ${id(i)}`,
  },
  {
    what: "filtered list of 50",
    query: (i) => `users(city = "city ${i % 40}" AND age > 40, order: age desc, limit: 50) { id name age }`,
    sql: (i) =>
      `SELECT id, name, age FROM users WHERE city = 'city ${i % 40}' AND age > 40 ORDER BY age DESC, id LIMIT 50`,
  },
  {
    what: "include of 2 levels",
    atLeast: 5,
    query: (i) => `users(id BETWEEN ${id(i)} AND ${id(i) + 9}) { id name posts { id title comments { id body } } }`,
    sql: (i) =>
      `SELECT u.id, u.name, p.id AS post, p.title, c.id AS comment, c.body FROM users u LEFT JOIN posts p ON p.user_id = u.id LEFT JOIN comments c ON c.post_id = p.id WHERE u.id BETWEEN ${id(i)} AND ${id(i) + 9} ORDER BY u.id, p.id, c.id`,
  },
];

export const engine: Figure = {
  name: "engine",
  about: "an engine's answers over the same SQL on its source",
  measure: async (setting) => {
    const kinds = (["mysql", "postgres"] as const).filter((kind) => parts[kind].available);
    if (kinds.length === 0) return { leftOut: `${parts.mysql.reason}; ${parts.postgres.reason}` };
    const lines: Line[] = [];
    for (const kind of kinds) lines.push(...(await measured(kind, setting)));
    return lines;
  },
};

async function measured(kind: "mysql" | "postgres", { quick, say, after }: Setting): Promise<Line[]> {
  const name = kind === "mysql" ? "MariaDB" : "PostgreSQL";
  const source = await testSource(kind);
  after(() => source.close());
  await fill(source);
  const program = await EngineProcess.create(source.connection, {
    instance: "bench",
    logLevel: "info",
    size: "medium",
  });
  after(() => program.remove());
  const lines = await loading(name, source, program, quick ? 1 : 3);
  program.start();
  await program.serving();
  say(`${name}: ${USERS} users, ${POSTS} posts, ${COMMENTS} comments; ${CONNECTIONS} connections`);
  const port = Number(new URL(program.url).port);
  const ms = quick ? 1000 : 2000;
  const { host, port: sqlPort, user, password, database, schema } = source.connection;
  for (const question of QUESTIONS) {
    const [ours, bare]: [Loaded[], Loaded[]] = [[], []];
    const requests = Array.from({ length: DIFFERENT }, (_, i) => requestOf(question.query(i), port));
    const statements = Array.from({ length: DIFFERENT }, (_, i) => question.sql(i));
    const connection = { host, port: sqlPort, user, password, database: database ?? schema };
    // A new process is slow at first, on either side.
    await sqlLoad({ kind, connection, connections: CONNECTIONS, ms: WARM_MS, statements });
    await load({ port, connections: CONNECTIONS, ms: WARM_MS, most: 1e6, requests });
    for (let round = 0; round < (quick ? 1 : 3); round++) {
      bare.push(await sqlLoad({ kind, connection, connections: CONNECTIONS, ms, statements }));
      const loaded = await load({ port, connections: CONNECTIONS, ms, most: 1e6, requests });
      if (loaded.refused > 0) throw new Error(`${question.what}: ${loaded.refused} answers were refusals`);
      ours.push(loaded);
    }
    lines.push(...compare(`${name}: ${question.what}`, question, ours, bare));
  }
  return [...lines, await visible(name, source, program, quick ? 10 : 60)];
}

function compare(what: string, { atLeast: least }: Question, ours: Loaded[], bare: Loaded[]): Line[] {
  const rates = (loads: Loaded[]) => distribution(loads.map(({ latencies, ms }) => (latencies.length / ms) * 1000));
  const times = (loads: Loaded[]) => distribution(loads.flatMap(({ latencies }) => latencies));
  const ratio = rates(ours).p50 / rates(bare).p50;
  const [own, other] = [times(ours), times(bare)];
  return [
    {
      ...{ what, unit: "requests/s", ours: rates(ours), bare: { what: "SQL", ...rates(bare) }, ratio },
      ...(least === undefined ? {} : { goal: { text: `ratio ≥ ${least}`, met: ratio >= least } }),
    },
    {
      ...{
        what: `${what}, latency`,
        unit: "ms",
        ours: own,
        bare: { what: "SQL", ...other },
        ratio: own.p50 / other.p50,
      },
      goal: { text: "p99 lower", met: own.p99 < other.p99 },
    },
  ];
}

function requestOf(query: string, port: number): string {
  const head = [`POST /query HTTP/1.1`, `Host: 127.0.0.1:${port}`, `Authorization: Bearer ${keyText(SECRET, "all")}`];
  return `${head.join("\r\n")}\r\nContent-Length: ${Buffer.byteLength(query)}\r\n\r\n${query}`;
}

/** The very artifact in this process: how fast its tables are filled, and what a row weighs. */
async function loading(
  name: string,
  { connection }: TestSource,
  program: EngineProcess,
  times: number,
): Promise<Line[]> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const { shape, createStore } = (await import(program.built.path)) as Engine;
  const options = {
    source: SourceConnection.parse(connection),
    shape,
    sync: SyncSettings.parse({ mode: "poll" }),
    ...{ instance: "bench", generation: 0, keepsSlot: false, moves: false },
    createStore,
  };
  const source = await openSource(options, () => {});
  const [rates, weights]: [number[], number[]] = [[], []];
  for (let i = 0; i < times; i++) {
    collect();
    const before = process.memoryUsage();
    const store = createStore();
    const started = performance.now();
    await source.snapshot(new Map(store.tables.entries()), { table: () => {}, rows: () => {} });
    for (const table of store.tables) table.finish();
    const rows = store.tables.reduce((sum, { live }) => sum + live, 0);
    rates.push((rows / (performance.now() - started)) * 1000);
    collect();
    const now = process.memoryUsage();
    weights.push((now.heapUsed + now.external - before.heapUsed - before.external) / rows);
  }
  await source.close();
  return [
    {
      what: `${name}: initial load`,
      unit: "rows/s",
      ours: distribution(rates),
      goal: atLeast(100_000, "rows/s", distribution(rates).p50),
    },
    { what: `${name}: memory per row`, unit: "bytes", ours: distribution(weights) },
  ];
}

/** From the commit's return to the first answer that has the row. */
async function visible(name: string, source: TestSource, program: EngineProcess, times: number): Promise<Line> {
  const waits: number[] = [];
  for (let i = 0; i < times; i++) {
    await source.run(`UPDATE users SET age = ${1000 + i} WHERE id = 5`);
    const from = performance.now();
    for (;;) {
      const { body } = await program.ask("users(id = 5) { age }");
      if ((body as { age: number }[])[0]?.age === 1000 + i) break;
    }
    waits.push(performance.now() - from);
    await sleep(5);
  }
  const ours = distribution(waits);
  return { what: `${name}: write to visible`, unit: "ms", ours, goal: atMost(50, "ms", ours.p50) };
}

async function fill({ dialect, run }: TestSource): Promise<void> {
  const text = dialect === "mysql" ? "VARCHAR(200)" : "varchar(200)";
  await run(
    `CREATE TABLE users (id INTEGER PRIMARY KEY, name ${text} NOT NULL, email ${text} NOT NULL, city ${text} NOT NULL, age INTEGER, credit DECIMAL(10,2))`,
    `CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), title ${text} NOT NULL)`,
    `CREATE TABLE comments (id INTEGER PRIMARY KEY, post_id INTEGER NOT NULL REFERENCES posts (id), body ${text} NOT NULL)`,
    "CREATE INDEX users_city ON users (city)",
    "CREATE INDEX posts_user ON posts (user_id)",
    "CREATE INDEX comments_post ON comments (post_id)",
  );
  const insert = async (table: string, count: number, row: (i: number) => string) => {
    for (let from = 1; from <= count; from += 2000) {
      const rows = Array.from({ length: Math.min(2000, count - from + 1) }, (_, i) => `(${row(from + i)})`);
      await run(`INSERT INTO ${table} VALUES ${rows.join(", ")}`);
    }
  };
  await insert(
    "users",
    USERS,
    (i) => `${i}, 'user ${i}', 'user.${i}@example.com', 'city ${i % 40}', ${i % 90}, ${i % 1000}.25`,
  );
  await insert("posts", POSTS, (i) => `${i}, ${1 + (i % USERS)}, 'the title of post ${i}, of medium length'`);
  await insert(
    "comments",
    COMMENTS,
    (i) => `${i}, ${1 + (i % POSTS)}, 'a comment with the number ${i} that says a little more than that'`,
  );
  await run(...(dialect === "mysql" ? ["ANALYZE TABLE users, posts, comments"] : ["ANALYZE"]));
}
