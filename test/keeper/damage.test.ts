// The copy on a host is spoiled while its writer is off: it is restored from a keeper; where there is none, it is left as it is, and no start is made of it.
import {
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { basename, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ControlFile, readControlFile } from "../../agent/postgres/control-file.ts";
import type { StartOrder } from "../../agent/postgres/writer.ts";
import { type Keeper, runKeeper } from "../../keeper/main.ts";
import { segmentName, segmentOf } from "../../postgres/lsn.ts";
import { scratch } from "../scratch.ts";
import { Commits, makeTable, missingRows } from "./commits.ts";
import { client, orderFor, PostgresHost, until } from "./postgres-host.ts";

const dataDir = scratch("keeper");
let keeper: Keeper;
let host: PostgresHost;

beforeAll(async () => {
  host = await PostgresHost.make();
  keeper = await runKeeper({ dataDir, token: "lamp_keeper_test", listen: { host: "127.0.0.1", port: 0 } });
});
afterAll(async () => {
  await host?.close();
  await keeper?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const segments = (pgdata: string): string[] =>
  readdirSync(join(pgdata, "pg_wal"))
    .filter((name) => /^[0-9A-F]{24}$/.test(name))
    .sort()
    .map((name) => join(pgdata, "pg_wal", name));
const overwrite = (path: string, at: number): void => {
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.fill(7, at, Math.min(at + 4096, bytes.length)));
};

/** PostgreSQL would take that for the end of the log. */
async function loseEnd(pgdata: string): Promise<void> {
  const control = (await readControlFile(pgdata)) as ControlFile;
  const last = segmentName(control.timeline, segmentOf(control.checkpoint));
  const behind = segments(pgdata).filter((each) => basename(each) > last);
  expect(behind).not.toEqual([]);
  for (const each of behind) rmSync(each);
}

type Case = [what: string, end: "stop" | "crash", spoil: (pgdata: string) => unknown, said: RegExp];
const cases: Case[] = [
  ["the control file is gone", "stop", (pgdata) => rmSync(join(pgdata, "global/pg_control")), /pg_control/],
  [
    "a map of files is damaged",
    "stop",
    (pgdata) => overwrite(join(pgdata, "global/pg_filenode.map"), 0),
    /pg_filenode/,
  ],
  [
    "a file that recovery needs is gone",
    "crash",
    (pgdata) => rmSync(join(pgdata, "global/pg_filenode.map")),
    /filenode/,
  ],
  ["a catalogue is damaged", "stop", (pgdata) => overwrite(join(pgdata, "global/1260"), 0), /invalid page|could not/],
  ["a segment is cut", "crash", (pgdata) => truncateSync(segments(pgdata).at(-1) ?? "", 8192), /not whole/],
  ["all that came after the checkpoint is gone", "crash", loseEnd, /its log ends at|is missing/],
];

async function end(order: StartOrder, how: "stop" | "crash"): Promise<void> {
  if (how === "stop") await host.writers.stop(order);
  else await host.crash(order.database);
}

test("with a keeper: restored, said why, and every acknowledged row is there", { timeout: 120_000 }, async () => {
  const commits = new Commits();
  let order = await orderFor("db_kept", 1, [keeper]);
  await host.start(order);
  await makeTable(order);
  const cluster = host.writers.cluster("db_kept");
  for (const [what, how, spoil, said] of cases) {
    await commits.begin(order, 2);
    const sql = await client(order);
    // Over the ends of segments.
    if (spoil === loseEnd) await sql.query("CREATE TABLE wide AS SELECT generate_series(1, 800000)");
    const count = commits.acknowledged.size;
    await until("rows", async () => commits.acknowledged.size > count + 10);
    sql.end();
    await commits.end();
    await end(order, how);
    await spoil(cluster.pgdata);
    order = await orderFor("db_kept", order.term + 1, [keeper]);
    const started = await host.start(order);
    expect([started.rung, started.damage], what).toEqual([7, expect.stringMatching(said)]);
    expect(started.why, what).toContain("the copy on this host is damaged: ");
    expect(await missingRows(order, commits.acknowledged), what).toEqual([]);
    await until("what was put aside is gone", async () => !existsSync(cluster.outgoing));
  }
});

test("a log that was damaged where nobody can tell is told by the keeper", async () => {
  const commits = new Commits();
  const order = await orderFor("db_silent", 1, [keeper]);
  await host.start(order);
  await makeTable(order);
  await commits.begin(order, 2);
  await until("rows", async () => commits.acknowledged.size > 100);
  await commits.end();
  await host.crash(order.database);
  // The last pages of the log that were written are as if they had never been.
  const [last = ""] = segments(host.writers.cluster("db_silent").pgdata)
    .filter((each) => readFileSync(each).some(Boolean))
    .slice(-1);
  const bytes = readFileSync(last);
  const used = bytes.findLastIndex((byte) => byte !== 0);
  writeFileSync(last, bytes.fill(0, used - 16_384));
  const next = await orderFor("db_silent", 2, [keeper]);
  const { rung, why } = await host.start(next);
  expect([rung, why]).toEqual([7, "the log of the copy on this host is not a continuation of the keepers'"]);
  expect(await missingRows(next, commits.acknowledged)).toEqual([]);
});

test("without: refused and left as it is; what can be mended goes on from there", { timeout: 120_000 }, async () => {
  let order = await orderFor("db_alone", 1, []);
  await host.start(order);
  await makeTable(order);
  const { pgdata } = host.writers.cluster("db_alone");
  const { uid, gid } = statSync(pgdata);
  for (const [what, how, spoil, said] of cases.slice(0, 4)) {
    await end(order, how);
    const files = ["global/pg_control", "global/pg_filenode.map", "global/1260"];
    const whole = files.map((file) => readFileSync(join(pgdata, file)));
    await spoil(pgdata);
    order = await orderFor("db_alone", order.term + 1, []);
    const refused = await host.start(order).catch((error) => error);
    expect([refused.code, refused.message], what).toEqual(["not_restorable", expect.stringMatching(said)]);
    // A person's word does not make a database of nothing.
    order = await orderFor("db_alone", order.term + 1, [], { served_term: 1, accept_loss: true });
    await expect(host.start(order), what).rejects.toMatchObject({ code: "not_restorable" });
    for (const [i, file] of files.entries()) {
      writeFileSync(join(pgdata, file), whole[i] as Buffer);
      chownSync(join(pgdata, file), uid, gid);
    }
    order = await orderFor("db_alone", order.term + 1, [], { served_term: 1 });
    expect(await host.start(order), what).toMatchObject({ damage: null });
    expect(await missingRows(order, new Set())).toEqual([]);
  }
});

test("with a keeper that lacks the log of what was served: refused rather than an older copy, until a person says so", async () => {
  const order = await orderFor("db_older", 1, [keeper]);
  await host.start(order);
  await makeTable(order);
  await host.writers.stop(order);
  rmSync(join(host.writers.cluster("db_older").pgdata, "global/pg_control"));
  const next = await orderFor("db_older", 3, [keeper], { served_term: 2 });
  const refused = await host.start(next).catch((error) => error);
  expect(refused.code).toBe("not_restorable");
  expect(refused.message).toMatch(/the copy on this host is damaged: .*the keepers have the log of term 1/);
  const again = await orderFor("db_older", 4, [keeper], { served_term: 2, accept_loss: true });
  expect(await host.start(again)).toMatchObject({ rung: 7 });
});

test("what is no damage is no reason to restore: a port in use, and it starts once that is free", async () => {
  const order = await orderFor("db_port", 1, [keeper]);
  await host.start(order);
  await host.writers.stop(order);
  const next = await orderFor("db_port", 2, [keeper]);
  const squatter = createServer((socket) => socket.destroy()).listen(next.listen.port, "127.0.0.1");
  await expect(host.start(next)).rejects.toMatchObject({ code: "failed" });
  await new Promise((done) => squatter.close(done));
  expect(await host.start({ ...next, term: 3 })).toMatchObject({ rung: 3, damage: null });
});
