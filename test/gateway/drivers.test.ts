import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import postgresJs from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Gateway } from "../../gateway/main.ts";
import { requires } from "../requires.ts";
import { eventually, PASSWORD, Site } from "./site.ts";

const postgres = await requires("postgres");
const psycopg = await requires("psycopg");
const jdbc = await requires("jdbc");
const here = import.meta.dirname;

/** What each driver is made to do, in its own way; every step says its name when it has gone as it should. */
const STEPS = [
  "woke",
  "prepared",
  "error 22012",
  "transaction",
  "large",
  "copied",
  "pipelined",
  "notified",
  "cancelled 57014",
  "still there",
  "wrong password 28P01",
];
const without = (...left: string[]) => STEPS.filter((step) => !left.includes(step));

describe.skipIf(!postgres.available)("drivers, each of which wakes the database with its first connection", () => {
  let site: Site;
  let gateway: Gateway;
  beforeAll(async () => {
    site = await Site.create(postgres.path);
    gateway = await site.gateway({ tlsRequired: true });
  });
  afterAll(() => site.close());
  beforeEach(async () => {
    await eventually(() => gateway.counters.sessions === 0);
    if (site.database.status === "ready") expect(await site.database.stopIfIdle()).toBe("stopped");
  });

  const run = async (program: string, args: string[], env: Record<string, string> = {}): Promise<string[]> => {
    const { stdout } = await promisify(execFile)(program, args, {
      env: {
        PATH: process.env.PATH,
        PGHOST: "localhost",
        PGHOSTADDR: "127.0.0.1",
        PGPORT: String(gateway.port),
        PGUSER: "app",
        PGDATABASE: "app",
        PGPASSWORD: PASSWORD,
        PGSSLMODE: "verify-full",
        PGSSLROOTCERT: site.certificate.certificate,
        ...env,
      },
      cwd: site.folder,
      timeout: 60_000,
      maxBuffer: 64 << 20,
    }).catch((error: Error & { stderr?: string }) => {
      throw new Error(`${error.message}\n${error.stderr}`);
    });
    return stdout.trim().split("\n");
  };
  const woken = () => expect(site.database.status).toBe("ready");

  test("psql", async () => {
    const { stdout: version } = await promisify(execFile)("psql", ["--version"]);
    const binds = Number(/\d+/.exec(version)?.[0]) >= 16;
    const script = [
      "\\echo woke",
      "SELECT 'prepared' WHERE $1 = 1 \\bind 1 \\g",
      "SELECT 1 / 0;",
      "\\echo error :LAST_ERROR_SQLSTATE",
      "BEGIN; CREATE TEMP TABLE t (n int); COMMIT;",
      "\\echo transaction",
      "SELECT left(repeat('large', 1000000), 5);",
      "\\copy t FROM PROGRAM 'seq 100000'",
      "SELECT CASE count(*) WHEN 100000 THEN 'copied' END FROM t;",
    ].map((line) => (binds ? line : line.replace("$1 = 1 \\bind 1 \\g", "1 = 1;")));
    const lines = await run("psql", ["-XAtq", ...script.flatMap((line) => ["-c", line])]);
    expect(lines).toEqual(["woke", "prepared", "error 22012", "transaction", "large", "copied"]);
    woken();
    await expect(run("psql", ["-XAtqc", "SELECT 1"], { PGPASSWORD: "wrong" })).rejects.toThrow(
      'password authentication failed for user "app"',
    );
  });

  test("psql: Ctrl-C cancels its query", async () => {
    const env = { PATH: process.env.PATH, PGPASSWORD: PASSWORD };
    const where = `host=127.0.0.1 port=${gateway.port} user=app dbname=app sslmode=require`;
    const child = spawn("psql", [where, "-XAtq"], { env, stdio: ["pipe", "pipe", "pipe"] });
    let said = "";
    for (const out of [child.stdout, child.stderr])
      out.on("data", (chunk: Buffer) => {
        said += chunk;
      });
    child.stdin.write("SELECT 'begun';\nSELECT pg_sleep(30);\n");
    await eventually(() => said.includes("begun"));
    child.kill("SIGINT");
    await eventually(() => said.includes("canceling statement due to user request"));
    child.stdin.end();
  });

  test("pg", async () => {
    const done: string[] = [];
    const ssl = { ca: readFileSync(site.certificate.certificate), servername: "localhost" };
    const config = { host: "127.0.0.1", port: gateway.port, user: "app", database: "app", password: PASSWORD, ssl };
    const client = new pg.Client(config);
    await client.connect();
    done.push("woke");
    const prepared = { name: "sum", text: "SELECT $1::int + $2::int AS sum", values: [1, 2] };
    for (let i = 0; i < 2; i++) expect((await client.query(prepared)).rows).toEqual([{ sum: 3 }]);
    done.push("prepared");
    const error = (await client.query("SELECT 1 / 0").catch((each: unknown) => each)) as pg.DatabaseError;
    done.push(`error ${error.code}`);
    await client.query("BEGIN");
    await client.query("CREATE TEMP TABLE t (n int)");
    await client.query("COMMIT");
    done.push("transaction");
    const { rows } = await client.query("SELECT repeat('x', 3000000) AS x FROM generate_series(1, 10)");
    if (rows.every(({ x }: { x: string }) => x.length === 3_000_000)) done.push("large");
    const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => client.query("SELECT $1::int AS n", [n])));
    if (answers.every(({ rows: [row] }, n) => row.n === n)) done.push("pipelined");
    const notified = new Promise((heard) => client.once("notification", ({ payload }) => heard(payload)));
    await client.query("LISTEN word");
    await client.query("NOTIFY word, 'heard'");
    if ((await notified) === "heard") done.push("notified");
    await client.end();
    const wrong = new pg.Client({ ...config, password: "wrong" });
    done.push(`wrong password ${await wrong.connect().catch((each: pg.DatabaseError) => each.code)}`);
    expect(done).toEqual(without("copied", "cancelled 57014", "still there"));
    woken();
  });

  test("postgres", async () => {
    const done: string[] = [];
    const ssl = { ca: readFileSync(site.certificate.certificate), servername: "localhost" };
    const config = { host: "127.0.0.1", port: gateway.port, user: "app", database: "app", password: PASSWORD, ssl };
    const sql = postgresJs({ ...config, max: 3, onnotice: () => {} });
    await sql`SELECT 1`;
    done.push("woke");
    for (let i = 0; i < 2; i++) expect(await sql`SELECT ${1}::int + ${2}::int AS sum`).toEqual([{ sum: 3 }]);
    done.push("prepared");
    done.push(`error ${await sql`SELECT 1 / 0`.catch((error: postgresJs.PostgresError) => error.code)}`);
    await sql.begin((each) => [each`CREATE TABLE t_postgres (n int)`, each`INSERT INTO t_postgres VALUES (1)`]);
    done.push("transaction");
    const large = await sql`SELECT repeat('x', 3000000) AS x FROM generate_series(1, 10)`;
    if (large.every(({ x }) => x.length === 3_000_000)) done.push("large");
    const { promise: written, resolve, reject } = Promise.withResolvers<void>();
    const copy = await sql`COPY t_postgres FROM STDIN`.writable();
    copy.on("error", reject).on("finish", resolve);
    for (let n = 0; n < 50_000; n++) copy.write(`${n}\n`);
    copy.end();
    await written;
    if ((await sql`SELECT count(*)::int AS n FROM t_postgres`)[0]?.n === 50_001) done.push("copied");
    const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => sql`SELECT ${n}::int AS n`));
    if (answers.every(([row], n) => row?.n === n)) done.push("pipelined");
    const { promise: heard, resolve: hear } = Promise.withResolvers<string>();
    await sql.listen("word", hear);
    await sql.notify("word", "heard");
    if ((await heard) === "heard") done.push("notified");
    const slow = sql`SELECT pg_sleep(30)`.execute();
    setTimeout(() => slow.cancel(), 300);
    done.push(`cancelled ${await slow.catch((error: postgresJs.PostgresError) => error.code)}`);
    await sql`DROP TABLE t_postgres`;
    done.push("still there");
    await sql.end();
    const wrong = postgresJs({ ...config, password: "wrong", max: 1 });
    done.push(`wrong password ${await wrong`SELECT 1`.catch((error: postgresJs.PostgresError) => error.code)}`);
    await wrong.end();
    expect(done).toEqual(STEPS);
    woken();
  });

  describe.skipIf(!psycopg.available)("of Python", () => {
    test.each(["psycopg", "psycopg2"])("%s", async (module) => {
      const lines = await run(psycopg.path, [join(here, "drivers", `${module}.py`)]);
      expect(lines).toEqual(without("wrong password 28P01", ...(module === "psycopg2" ? ["pipelined"] : [])));
      woken();
    });
  });

  describe.skipIf(!jdbc.available)("of Java", () => {
    test("JDBC", async () => {
      const program = join(here, "drivers", "Jdbc.java");
      expect(await run("java", ["-XX:TieredStopAtLevel=1", "-cp", jdbc.path, program])).toEqual(STEPS);
      woken();
    }, 60_000);
  });
});
