// What lamplighter-engine says and is told, where either side does not do as it should.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import type { EngineHealth } from "../../contract/engine.ts";
import type { ConnectionTest } from "../../contract/engine-build.ts";
import { ARTIFACT_BYTES, type EngineOrders, ReportBody, type SourceTest } from "../../contract/instance-report.ts";
import { artifactParts, tooLarge } from "../../engine/program/artifact.ts";
import { type Given, sourceOf } from "../../engine/program/environment.ts";
import { listenForOrders, Orders } from "../../engine/program/orders.ts";
import { NotAwaited, Reports } from "../../engine/program/reports.ts";
import { settingsOf } from "../../engine/program/settings.ts";
import { sourceTestOf, testOfAll } from "../../engine/program/source-test.ts";
import { driftReport, vitalsOf } from "../../engine/program/vitals.ts";
import { intervalOf } from "../../engine/run.ts";

const source = {
  kind: "postgres",
  host: "db",
  port: 5432,
  user: "u",
  database: null,
  tls: "disable",
  ca: null,
} as const;
const operation = { id: "op", revision: 1 };
const orders: EngineOrders = { replication: "running", reload: 0, keys: [] };

function given(url: string): Given {
  const task: Given["task"] = { do: "test", operation, source, schemas: [], config: null };
  const workload = { id: "inst_1-2", generation: 3 };
  return { task, workload, reports: { url, token: "t" }, password: "p", keySecret: "k", port: 1 };
}

/** A control plane that answers with these statuses, one after the other; the last stays. */
async function plane(...statuses: number[]) {
  const heard: { kind: string }[] = [];
  const server = createServer(async (request, response) => {
    heard.push(JSON.parse(await text(request)).body);
    const status = statuses.length > 1 ? statuses.shift() : statuses[0];
    if (status === 0) return void response.destroy();
    response.writeHead(status ?? 200).end(JSON.stringify({ accepted: true, orders }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { heard, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/instances/inst_1/reports` };
}

test("a report is said again until it is answered, and the next waits for it", async () => {
  const { heard, url } = await plane(503, 0, 429, 200);
  const reports = new Reports(given(url));
  const first = reports.send({ kind: "progress", message: "one" });
  const second = reports.send({ kind: "loaded", rows: 1, tables: 1 });
  expect(await Promise.all([first, second])).toEqual([orders, orders]);
  expect(heard.map(({ kind }) => kind)).toEqual(["progress", "progress", "progress", "progress", "loaded"]);
});

test("a report that nobody waits for ends its program; one that is not understood does not", async () => {
  const stale = new Reports(given((await plane(409)).url));
  await expect(stale.send({ kind: "loaded", rows: 1, tables: 1 })).rejects.toBeInstanceOf(NotAwaited);
  const strange = new Reports(given((await plane(422, 200)).url));
  const refused = strange.send({ kind: "loaded", rows: 1, tables: 1 });
  await expect(refused).rejects.toThrow("loaded was refused: 422");
  await expect(refused).rejects.not.toBeInstanceOf(NotAwaited);
  expect(await strange.send({ kind: "progress", message: "two" })).toEqual(orders);
});

test("whoever ends is not kept by a control plane that is away", async () => {
  const { heard, url } = await plane(503);
  const reports = new Reports(given(url));
  const sent = reports.send({ kind: "progress", message: "one" });
  setTimeout(() => reports.end(), 300);
  await expect(sent).rejects.toBeInstanceOf(NotAwaited);
  const before = heard.length;
  await expect(reports.send({ kind: "progress", message: "two" })).rejects.toBeInstanceOf(NotAwaited);
  expect(heard).toHaveLength(before);
});

function engine() {
  const asked: string[] = [];
  const answers = { status: 200 };
  const ask = async (method: string, path: string, body?: unknown) => {
    asked.push(`${method} ${path}${body === undefined ? "" : ` ${JSON.stringify(body)}`}`);
    return { status: answers.status, text: "" };
  };
  return { asked, answers, ask };
}
const key = { id: "a", tables: null, rows: {}, expires_at: null, rate: null };

test("orders are done once it serves, once, and again when they could not be done", async () => {
  const told = engine();
  const to = new Orders(told, "secret", { ...orders, replication: "paused", reload: 4 });
  await to.obey({ ...orders, replication: "paused", reload: 5 });
  expect(told.asked).toEqual([]);
  told.answers.status = 503;
  await to.ready();
  told.answers.status = 200;
  await to.obey({ ...orders, replication: "paused", reload: 5 });
  await to.obey({ ...orders, replication: "paused", reload: 5 });
  expect(told.asked).toEqual(["POST /pause-replication", "POST /pause-replication"]);
  // A reload waits for replication.
  await to.obey({ ...orders, reload: 5 });
  await to.obey({ ...orders, reload: 5 });
  expect(told.asked.slice(2)).toEqual(["POST /resume-replication", "POST /reload"]);
});

test("a key whose filter cannot be read opens nothing, and takes no other key's place", async () => {
  const told = engine();
  const to = new Orders(told, "secret", orders);
  await to.ready();
  await to.obey({ ...orders, keys: [{ ...key, id: "bad", rows: { t: "((" } }, key] });
  expect(told.asked).toEqual([`PUT /keys ${JSON.stringify({ secret: "secret", keys: [key] })}`]);
});

test("tell hands orders to the engine beside it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tell-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const told: EngineOrders[] = [];
  const cwd = process.cwd();
  process.chdir(folder);
  const server = await listenForOrders(given("http://plane/reports"), async (one) => void told.push(one)).finally(() =>
    process.chdir(cwd),
  );
  onTestFinished(() => void server.close());
  const program = join(import.meta.dirname, "../../bin/lamplighter-engine");
  const tell = (text: string, generation = "3") =>
    promisify(execFile)(program, ["tell", text], {
      cwd: folder,
      env: { ...process.env, LAMPLIGHTER_WORKLOAD_GENERATION: generation },
    });
  await tell(JSON.stringify(orders));
  expect(told).toEqual([orders]);
  await expect(tell("{}")).rejects.toThrow("the engine's program answered 400");
  await expect(tell(JSON.stringify(orders), "4"), "there is no engine of that generation").rejects.toThrow("ENOENT");
  expect(told).toHaveLength(1);
});

test("the parts of an artifact are the artifact, and no character is in two of them", () => {
  const program = `${"x".repeat(399_999)}😀${"y".repeat(400_000)}`;
  const parts = artifactParts("h", program);
  expect(parts.map(({ text: part }) => part).join("")).toBe(program);
  expect(parts.every(({ text: part, parts: of }) => part.isWellFormed() && of === parts.length)).toBe(true);
});

test("the largest artifact fits in reports; a larger one is refused with its size", () => {
  const parts = artifactParts("a".repeat(64), "x".repeat(ARTIFACT_BYTES));
  expect(ReportBody.parse(parts.at(-1))).toEqual(parts.at(-1));
  expect(tooLarge(ARTIFACT_BYTES)).toBeNull();
  expect(tooLarge(ARTIFACT_BYTES + 1)).toMatch("the engine is 80.1 MB, and one of at most 80.0 MB");
});

test("tasks become settings: words, memory, and a token that is no key", () => {
  const { settings: words, ...serve } = {
    ...({ do: "serve", operation, source, instance_id: "inst_1", build_id: "b", schema: "shop", orders } as const),
    artifact: { hash: "h", kept: true },
    settings: {
      ...({ size: "nano", sync_mode: "auto", sync_interval: 7, log_level: "warn", binlog_server_id: 9 } as const),
      ...({ reconnect_mode: "resume", safety_net: 60, keep_source_awake: false } as const),
    },
  };
  const settings = settingsOf(given("http://plane/reports"), { ...serve, settings: words }, "secret");
  expect(settings).toMatchObject({
    ...{ instance: "inst_1", generation: 3, memoryMb: 384, logLevel: "warn" },
    source: { database: "postgres", schema: "shop", password: "p", tls: { mode: "disable" } },
    sync: { mode: null, interval: 7, reconnect: "resume", safetyNet: 60, serverId: 9 },
  });
  expect(settings.adminToken).toHaveLength(43);
  expect(sourceOf(given("http://plane/reports"), null).schema).toBe("public");
});

const health: EngineHealth = {
  ...{
    state: "serving",
    build: "b",
    snapshot_id: 4,
    rows: { users: 2 },
    drift: [],
    failure: null,
    last_query_at: null,
  },
  replication: {
    state: "live",
    mode: "binlog",
    position: "0-1-2",
    age_ms: 3,
    reason: null,
    resyncs: 0,
    transactions: 1,
  },
  load: { table: null, tables: 1, tables_done: 1, rows: 2, rows_expected: null, verified: null },
  memory: { used_mb: 1, limit_mb: 2 },
};

test.each([
  ["live", "binlog", "live"],
  ["live", "poll", "polling"],
  ["catching_up", "logical", "live"],
  ["drifted", "binlog", "drifted"],
  ["starting", null, "loading"],
  ["paused", "poll", "paused"],
  ["resyncing", "binlog", "resyncing"],
] as const)("%s by %s is %s", (state, mode, said) => {
  expect(vitalsOf({ ...health, replication: { ...health.replication, state, mode } }).replication).toBe(said);
});

test.each([
  [7, 77, 1, 7],
  [null, 77, 1, 77],
  [null, 5, 60, 60],
  [null, null, 1, 30],
  [null, null, 60, 60],
])(
  "a setting of %s beside a file that says %s and a connection that permits %s is %s s",
  (interval, file, minInterval, seconds) => {
    const shape = { sync: { interval: file, reconnect: "full" as const, safetyNet: null } };
    expect(intervalOf({ interval, minInterval }, shape)).toBe(seconds);
  },
);

test("the same drift is the same report", () => {
  const drift = [{ table: "t", column: "c", change: "column_gone", breaking: true, detail: "t.c is gone" }] as const;
  expect(driftReport(health).changes).toEqual([]);
  expect(driftReport({ ...health, drift: [...drift] })).toEqual(driftReport({ ...health, drift: [...drift] }));
  expect(driftReport({ ...health, drift: [...drift] }).changes).toEqual(["t.c is gone"]);
});

test("of several schemas, what is wrong with one is told with its name, and what is wrong with all once", () => {
  const finding = (code: string, message: string) => ({ code, severity: "error" as const, message, fix: null });
  const well: SourceTest = {
    ...{ ok: true, error: null, server_version: "v", latency_ms: 1, estimated_bytes: 2, schemas: ["a", "b"] },
    ...{ replication: { mode: "logical", ready: false }, findings: [finding("wal_level", "wal_level is replica")] },
  };
  const denied = { code: "schema_denied", message: "the schema b may not be used" };
  const unreached = { ...well, ok: false, server_version: null, estimated_bytes: null, findings: [] };
  const tests = [
    { schema: "a", test: { ...well, findings: [...well.findings, finding("select_denied", "t is left out")] } },
    {
      schema: "b",
      test: { ...well, ok: false, error: denied, findings: [...well.findings, finding(denied.code, denied.message)] },
    },
    { schema: "c", test: { ...unreached, error: { code: "schema_missing", message: "there is none" } } },
  ];
  const { findings, ...rest } = testOfAll(tests);
  expect(rest).toMatchObject({
    ok: false,
    error: { code: "schema_denied", message: "b: the schema b may not be used" },
  });
  expect(rest).toMatchObject({ estimated_bytes: 4, replication: { ready: false } });
  expect(findings.map(({ message }) => message)).toEqual([
    "wal_level is replica",
    "a: t is left out",
    "b: the schema b may not be used",
    "c: there is none",
  ]);
});

test("a finding has the statement that mends it apart", () => {
  const found = (message: string) => {
    const replication: ConnectionTest["replication"] = {
      mode: "poll",
      findings: [{ code: "repl_grant_missing", message }],
    };
    const test = { latency_ms: 1, version: "v", bytes: 1, rows: 1, schemas: [], findings: [], replication };
    return sourceTestOf({ ok: true, test, findings: [] }, "mysql", true);
  };
  const grant = "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'u'@'%'";
  expect(found(grant)).toMatchObject({ ok: true, replication: { mode: "binlog", ready: false } });
  expect(found(grant).findings[0]?.fix).toBe(grant);
  expect(found("binlog_format is MIXED: SET GLOBAL binlog_format = 'ROW'").findings[0]?.fix).toBe(
    "SET GLOBAL binlog_format = 'ROW'",
  );
  expect(found("wal_level is replica: ALTER SYSTEM SET wal_level = 'logical', then restart").findings[0]?.fix).toBe(
    "ALTER SYSTEM SET wal_level = 'logical'",
  );
  expect(found("log_bin is OFF: start the server with --log-bin").findings[0]?.fix).toBe(null);
});
