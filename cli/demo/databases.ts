import { existsSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { DatabaseView } from "../../contract/database.ts";
import { Failure } from "../failure.ts";
import type { Reader } from "./instances.ts";
import type { Scene } from "./scene.ts";
import type { Stage } from "./stage.ts";
import { seconds, type Tell } from "./story.ts";

/** The least that there is: so long nobody has to be connected until it is stopped. */
const IDLE_TIMEOUT_S = 5;
const CROWD = 20;
const WRITERS = 4;
const WRITING_MS = 300;

/** Those that are there at the end. */
const CUSTOMERS = "Ada, Grace, Edsger, Barbara";

export type Made = DatabaseView & { dsn: string };

/** A PostgreSQL that is awake only while it is used. Answers it awake, with nobody connected. */
export async function database(scene: Scene): Promise<Made> {
  const { story, stage, within } = scene;
  const made = await story.stepFor("A database is made: nothing is started", async () => {
    const body = { name: "shop", idle_timeout: IDLE_TIMEOUT_S };
    const { text } = await stage.api.post("/databases", { body, headers: { prefer: "wait=10" } });
    const made = JSON.parse(text) as Made;
    expectThat(made.state === "stopped", `expected it stopped, got ${made.state}: ${made.message}`);
    expectThat(stage.postgresOf(made.id).length === 0, "a PostgreSQL runs");
    return { held: `${made.dsn.replace(/:[^:@]+@/, ":…@")} is stopped: no PostgreSQL runs`, value: made };
  });

  await story.step("An ordinary driver connects: PostgreSQL wakes, and takes a row", async () => {
    const at = performance.now();
    const client = await connect(made.dsn);
    await client.query("SELECT 1");
    const first = performance.now() - at;
    await client.query(`
      CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, city text NOT NULL);
      CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, item text NOT NULL);
      INSERT INTO customers VALUES (1, 'Ada', 'London'), (2, 'Grace', 'New York'), (3, 'Edsger', 'Rotterdam');
      INSERT INTO orders VALUES (1, 1, 'lamp'), (2, 1, 'wick'), (3, 2, 'oil')`);
    const again = performance.now();
    const second = await connect(made.dsn);
    await second.query("SELECT 1");
    const warm = performance.now() - again;
    const view = await read(stage, made.id);
    expectThat(
      view.state === "ready" && view.term === 1,
      `expected it ready in term 1, got ${view.state}, ${view.term}`,
    );
    const [writer] = stage.postgresOf(made.id);
    if (writer === undefined) throw new Failure("no PostgreSQL runs");
    const { rows } = await client.query("SHOW server_version");
    for (const each of [client, second]) await each.end();
    return `PostgreSQL ${rows[0].server_version.split(" ")[0]} (process ${writer.pid}) got its data folder and was awake in ${view.last_start?.ms} ms, and answered after ${ms(first)}; a second connection took ${ms(warm)}`;
  });

  await story.step("Nobody is connected: it goes to sleep", async (tell) => {
    const since = performance.now();
    await asleep(scene, made.id, tell);
    return `its PostgreSQL was stopped after ${seconds(performance.now() - since)}, and none is left`;
  });

  await story.step(`${CROWD} clients come at once: one start, and each finds the row`, async () => {
    const before = await read(stage, made.id);
    const at = performance.now();
    const names = await Promise.all(
      Array.from({ length: CROWD }, async () => {
        const client = await connect(made.dsn);
        const { rows } = await client.query("SELECT name FROM customers WHERE id = 1");
        await client.end();
        return rows[0]?.name;
      }),
    );
    const took = performance.now() - at;
    expectThat(
      names.every((name) => name === "Ada"),
      `expected Ada ${CROWD} times, got ${names.join()}`,
    );
    const view = await read(stage, made.id);
    expectThat(view.term === before.term + 1, `expected one start, got ${view.term - before.term}`);
    return `woke in ${view.last_start?.ms} ms; all ${CROWD} had their answer after ${ms(took)}`;
  });

  await story.step("PostgreSQL is killed (-9) under writers: no acknowledged row is lost", async () => {
    const client = await connect(made.dsn);
    await client.query("CREATE TABLE ticks (n int PRIMARY KEY)");
    await client.end();
    const acknowledged: number[] = [];
    const write = async (_: unknown, writer: number) => {
      const client = await connect(made.dsn);
      for (let n = writer; ; n += WRITERS) {
        await client.query("INSERT INTO ticks VALUES ($1)", [n]);
        acknowledged.push(n);
      }
    };
    const writing = Promise.allSettled(Array.from({ length: WRITERS }, write));
    await within(
      5000,
      () => "nothing was written",
      async () => (acknowledged.length > 0 ? true : null),
    );
    await sleep(WRITING_MS);
    const [writer] = stage.postgresOf(made.id);
    if (writer === undefined) throw new Failure("no PostgreSQL runs");
    process.kill(writer.pid, "SIGKILL");
    const at = performance.now();
    await writing;
    const after = await connect(made.dsn);
    const { rows } = await after.query<{ n: number }>("SELECT n FROM ticks");
    const took = performance.now() - at;
    await after.query("DROP TABLE ticks");
    await after.end();
    const kept = new Set(rows.map(({ n }) => n));
    const lost = acknowledged.filter((n) => !kept.has(n));
    expectThat(lost.length === 0, `${lost.length} of ${acknowledged.length} acknowledged rows are lost`);
    return `all ${acknowledged.length} acknowledged rows are there; the next client had its answer ${ms(took)} after the kill`;
  });

  return made;
}

/** What was committed outlives the host's disk. */
export async function databaseOutlivesDisk(scene: Scene, { id, dsn }: Made, reader: Reader): Promise<void> {
  const { story, stage } = scene;

  await story.step("Meanwhile the database has gone to sleep; its engine goes on answering", async (tell) => {
    await asleep(scene, id, tell);
    await reader.expectAnswer();
    expectThat((await read(stage, id)).state === "stopped", "the question has woken it");
    return "the same answer, and no PostgreSQL runs";
  });

  await story.step("Its data folder is deleted, a client comes: every row is there", async () => {
    const folder = stage.databaseFolder(id);
    if (!existsSync(folder)) throw new Failure(`expected its data in ${folder}`);
    rmSync(folder, { recursive: true });
    const at = performance.now();
    const client = await connect(dsn);
    const { rows } = await client.query("SELECT name FROM customers ORDER BY id");
    const took = performance.now() - at;
    await client.end();
    const names = rows.map(({ name }) => name).join(", ");
    expectThat(names === CUSTOMERS, `expected ${CUSTOMERS}, got ${names}`);
    const { last_start } = await read(stage, id);
    expectThat((last_start?.restored_bytes ?? 0) > 0, `expected it restored, got ${last_start?.why}`);
    const size = Math.round((last_start?.restored_bytes ?? 0) / 1024 ** 2);
    return `restored from the keeper, ${size} MiB in ${last_start?.ms} ms; the client had ${names} after ${ms(took)}`;
  });
}

/** Waits until it has been stopped because nobody is there. */
async function asleep({ stage, within }: Scene, id: string, tell: Tell): Promise<void> {
  let last = "";
  await within(
    30_000,
    () => `expected it to sleep, but it is ${last}`,
    async () => {
      const { state, message, idle_stop_at } = await read(stage, id);
      last = `${state}: ${message}`;
      const left = idle_stop_at === null ? null : Math.max(0, Date.parse(idle_stop_at) - Date.now());
      tell(left === null ? last : `it will be stopped in ${Math.ceil(left / 1000)} s`);
      return state === "stopped" && stage.postgresOf(id).length === 0 ? true : null;
    },
  );
}

export async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: "demo", connectionTimeoutMillis: 20_000 });
  // What becomes of it is seen with its next query.
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function read(stage: Stage, id: string): Promise<DatabaseView> {
  return JSON.parse((await stage.api.get(`/databases/${id}`)).text) as DatabaseView;
}

function expectThat(holds: boolean, otherwise: string): void {
  if (!holds) throw new Failure(otherwise);
}

const ms = (span: number): string => `${Math.round(span)} ms`;
