import { afterEach, describe, expect, test } from "vitest";
import { freshEnv, lamplighter } from "./captured.ts";
import { type Handler, json, problem, scriptedServer } from "./scripted-server.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const ID = "inst_01k9j4w7c3d5e8f2g6h9j1k4m7";
const CONNECTION = "conn_01k9j4w7c3d5e8f2g6h9j1k4m7";
const view = (more: object = {}) => ({
  id: ID,
  name: "shop-read",
  namespace: "shop",
  connection_id: CONNECTION,
  schema: "shop",
  status: "running",
  message: "serves 5 rows of 3 tables",
  goal: null,
  desired_state: null,
  operation: null,
  last_operation: null,
  last_error: null,
  health: "ok",
  endpoint_url: "http://127.0.0.1:20000",
  host_id: null,
  settings: { size: "nano", sync_mode: "auto", sync_interval: null },
  vitals: null,
  drift: null,
  replication_paused: false,
  pending_changes: [],
  pause_schedule: null,
  idle_pause: null,
  latest_build: null,
  created_at: "2026-11-21T09:00:00Z",
  revision: 3,
  allowedActions: { pause: { allowed: true, mode: "immediate" }, resume: { allowed: false } },
  ...more,
});
const goal = (action: string) => ({ goal: { action, by: "user", actor: "root", set_at: "2026-11-21T09:00:00Z" } });

async function serve(handler: Handler) {
  const server = await scriptedServer((one, response) =>
    one.method === "GET" && one.url.startsWith("/instances?")
      ? json(response, 200, [view()])
      : one.method === "GET" && one.url.startsWith("/connections?")
        ? json(response, 200, [{ id: CONNECTION, name: "shop-mysql", namespace: "shop" }])
        : handler(one, response),
  );
  closers.push(server.close);
  const env = { ...freshEnv(), LAMPLIGHTER_URL: server.url, LAMPLIGHTER_TOKEN: "lamp_x" };
  return { ...server, env };
}

describe("instance actions", () => {
  test.each([
    ["pause", "building", "Pause after building"],
    ["terminate", "resuming", "Terminate after resuming"],
    ["resume", "pausing", "Resume after pausing"],
  ])("a queued %s is called as the source's dashboard calls it", async (verb, status, said) => {
    const { env, seen } = await serve((_one, response) => json(response, 202, view({ status, ...goal(verb) })));
    const answer = await lamplighter(["instance", verb, "shop-read"], { env });
    expect(answer).toMatchObject({ code: 0, out: `shop-read: ${said}\n`, err: "" });
    expect(seen.at(-1)).toMatchObject({ method: "POST", url: `/instances/${ID}/${verb}` });
    expect(seen.at(-1)?.headers["idempotency-key"]).toBeTruthy();
  });

  test("one that is done at once says where it stands; resize and redeploy send what they are about", async () => {
    const { env, seen } = await serve((_one, response) =>
      json(response, 202, view({ status: "deploying", message: "it loads" })),
    );
    const resized = await lamplighter(["instance", "resize", "shop-read", "--size", "small"], { env });
    expect(resized).toMatchObject({ code: 0, out: "shop-read: deploying, size nano: it loads\n" });
    expect(JSON.parse(seen.at(-1)?.body ?? "")).toEqual({ size: "small" });
    const build = "bld_01k9j4w7c3d5e8f2g6h9j1k4m7";
    await lamplighter(["instance", "redeploy", ID, "--build", build], { env });
    expect(JSON.parse(seen.at(-1)?.body ?? "")).toEqual({ build_id: build });
    expect((await lamplighter(["instance", "resize", ID, "--size", "huge"], { env })).code).toBe(1);
  });

  test("a conflict ends with 5, and says how to go on", async () => {
    const { env } = await serve((_one, response) =>
      problem(
        response,
        409,
        "goal_conflict",
        "Another action is queued",
        "terminate of shop-read: pause is queued already; cancel that goal first.",
      ),
    );
    const answer = await lamplighter(["instance", "terminate", "shop-read"], { env });
    expect(answer.code).toBe(5);
    expect(answer.err).toContain("cannot terminate instance 'shop-read'");
    expect(answer.err).toContain("cancel-goal");
  });

  test("--wait goes on until it rests, and fails when what was asked for failed", async () => {
    const operation = { id: "op_1", action: "rebuild" };
    const over = { id: "op_1", action: "rebuild", outcome: "failed", message: "3:5 no such table" };
    const { env } = await serve((one, response) =>
      one.method === "POST"
        ? json(response, 202, view({ status: "building", operation }))
        : json(response, 200, view({ last_operation: over })),
    );
    const answer = await lamplighter(["instance", "rebuild", "shop-read", "--wait"], { env });
    expect([answer.code, answer.err]).toEqual([1, expect.stringContaining("3:5 no such table")]);
  });

  test("create sends the schedule as flags say it, and the connection by its id", async () => {
    const { env, seen } = await serve((_one, response) => json(response, 201, view({ status: "registered" })));
    const flags = ["--pause-at", "20:00", "--resume-at", "07:00", "--days", "mon-fri", "--time-zone", "Europe/Berlin"];
    const answer = await lamplighter(
      ["instance", "create", "shop-read", "--connection", "shop-mysql", "--schema", "shop", "-n", "shop", ...flags],
      { env },
    );
    expect(answer.out).toContain("lamplighter instance provision shop-read");
    expect(JSON.parse(seen.at(-1)?.body ?? "")).toEqual({
      name: "shop-read",
      namespace: "shop",
      connection_id: CONNECTION,
      schema: "shop",
      pause_schedule: { pause_at: "20:00", resume_at: "07:00", days: [1, 2, 3, 4, 5], time_zone: "Europe/Berlin" },
    });
    const half = await lamplighter(
      ["instance", "create", "x", "-C", CONNECTION, "--schema", "s", "--pause-at", "20:00"],
      { env },
    );
    expect([half.code, half.err]).toEqual([1, expect.stringContaining("--resume-at")]);
  });

  test("update takes away what `--no-…` says", async () => {
    const { env, seen } = await serve((_one, response) => json(response, 200, view({ pending_changes: [] })));
    const flags = ["--no-config", "--no-safety-net", "--binlog-server-id", "7", "-l", "team=web"];
    await lamplighter(["instance", "update", "shop-read", ...flags], { env });
    expect(JSON.parse(seen.at(-1)?.body ?? "")).toEqual({
      ...{ config: null, safety_net: null, binlog_server_id: 7, labels: { team: "web" } },
    });
  });

  test("the list shows what is queued after what", async () => {
    const { env } = await serve((_one, response) => json(response, 200, []));
    expect((await lamplighter(["instance", "list"], { env })).out).toContain("running");
    const { statusText } = await import("../../cli/instance/list.ts");
    expect(statusText(view({ status: "building", ...goal("pause") }) as never)).toBe("building, pause after");
  });
});

const AT = {
  ...{ "x-next-cursor": "c1", "x-snapshot-age-ms": "138", "x-source-position": "0-1-57", "x-replication": "paused" },
};

describe("instance query and keys", () => {
  test("a query goes to the engine with its key, and prints what it answers", async () => {
    const engine = await scriptedServer((one, response) =>
      one.body.startsWith("users")
        ? json(response, 200, [{ id: 1 }], one.body.includes("limit") ? { "x-has-more": "true", ...AT } : {})
        : json(response, 422, {
            code: "unknown_table",
            detail: "there is no user",
            line: 1,
            column: 1,
            nearest: ["users"],
          }),
    );
    closers.push(engine.close);
    const { env } = await serve((_one, response) => json(response, 200, view({ endpoint_url: engine.url })));
    const good = await lamplighter(["instance", "query", "shop-read", "users { id }", "--key", "rxk_a.b"], { env });
    expect(good).toMatchObject({ code: 0, out: '[{"id":1}]\n', err: "" });
    const page = ["instance", "query", "shop-read", "users(limit: 1) { id }", "--key", "rxk_a.b"];
    expect(await lamplighter([...page, "-o", "yaml"], { env })).toMatchObject({
      ...{ code: 0, out: "- id: 1\n" },
      err: 'There is more: go on with after: "c1"\n0.138 s old, as of 0-1-57, replication: paused\n',
    });
    expect(engine.seen[0]).toMatchObject({
      url: "/query",
      body: "users { id }",
      headers: { authorization: "Bearer rxk_a.b" },
    });
    const bad = await lamplighter(["instance", "query", "shop-read", "--key", "rxk_a.b"], {
      env,
      stdin: "user { id }",
    });
    expect([bad.code, bad.err]).toEqual([
      1,
      expect.stringContaining("unknown_table (line 1, column 1): there is no user"),
    ]);
    expect(bad.err).toContain("users");
    expect((await lamplighter(["instance", "query", "shop-read", "users { id }"], { env })).code).toBe(2);
  });

  test("while no engine serves, why, and when to ask again", async () => {
    const proxy = await scriptedServer((_one, response) => {
      response.setHeader("retry-after", 60);
      json(response, 503, { code: "paused", detail: "paused" });
    });
    closers.push(proxy.close);
    const { env } = await serve((_one, response) =>
      json(response, 200, view({ status: "paused", endpoint_url: `${proxy.url}/inst_x` })),
    );
    const answer = await lamplighter(["instance", "query", "shop-read", "users { id }", "--key", "rxk_a.b"], { env });
    expect(answer.code).toBe(1);
    expect(answer.err).toContain("paused: paused");
    expect(answer.err).toContain("Ask again in 60 s.");
    expect(proxy.seen[0]?.url).toBe("/inst_x/query");
  });

  test("a new key is the only thing on stdout", async () => {
    const made = { id: "key_1", name: "web", key: "rxk_key_1.mac" };
    const { env, seen } = await serve((_one, response) => json(response, 201, made));
    const args = [
      "instance",
      "keys",
      "create",
      "shop-read",
      "web",
      "--table",
      "products",
      "--row",
      "products=active = true",
    ];
    const answer = await lamplighter(args, { env });
    expect([answer.code, answer.out]).toEqual([0, "rxk_key_1.mac\n"]);
    expect(JSON.parse(seen.at(-1)?.body ?? "")).toEqual({
      name: "web",
      tables: ["products"],
      rows: { products: "active = true" },
    });
  });
});

test("inspect-build shows the newest build, or the one that is named, with all that was wrong", async () => {
  const build = (id: string, more: object) => ({
    ...{ id, instance_id: ID, status: "succeeded", deployable: true, artifact_hash: "a1", artifact_bytes: 2048 },
    ...{ schema_hash: "s", tables: 3, warnings: [], error: null, duration_seconds: 2 },
    ...{ created_at: "2026-11-21T09:00:00Z", started_at: null, finished_at: null, ...more },
  });
  const error = {
    code: "config_invalid",
    category: "build",
    message: "does not fit\n3:5 no table x",
    retryable: false,
  };
  const builds = [build("bld_2", { status: "failed", error, artifact_hash: null }), build("bld_1", {})];
  const { env } = await serve((_one, response) => json(response, 200, { builds, active_build_id: null }));
  const newest = await lamplighter(["instance", "inspect-build", "shop-read"], { env });
  expect(newest.out).toMatch(/^Error +config_invalid: does not fit\n +3:5 no table x$/m);
  const named = await lamplighter(["instance", "inspect-build", "shop-read", "bld_1", "-o", "json"], { env });
  expect(JSON.parse(named.out)).toEqual(builds[1]);
  expect((await lamplighter(["instance", "inspect-build", "shop-read", "bld_3"], { env })).code).toBe(4);
});

describe("connection", () => {
  test("create takes the password from standard input, and shows it nowhere", async () => {
    const made = { id: CONNECTION, name: "shop-mysql", namespace: "shop" };
    const { env, seen } = await serve((_one, response) => json(response, 201, made));
    const args = [
      "connection",
      "create",
      "shop-mysql",
      "--host",
      "db",
      "-u",
      "u",
      "--schema",
      "shop",
      "-n",
      "shop",
      "--password-stdin",
    ];
    const answer = await lamplighter(args, { env, stdin: "s3cret\n" });
    expect(answer.code).toBe(0);
    expect(answer.out + answer.err).not.toContain("s3cret");
    expect(JSON.parse(seen.at(-1)?.body ?? "")).toMatchObject({ kind: "mysql", password: "s3cret", schemas: ["shop"] });
  });

  test("inspect shows where it leads, what was found there, and no password; events follow its journal", async () => {
    const last_test = {
      ...{ ok: true, error: null, server_version: "11.8", latency_ms: 2, estimated_bytes: null, schemas: ["shop"] },
      ...{ replication: { mode: "binlog", ready: true }, host_id: "host_1", tested_at: "2026-11-21T09:30:00.000Z" },
      findings: [{ code: "no_primary_key", severity: "warning", message: "loose has no key", fix: null }],
    };
    const connection = {
      ...{ id: CONNECTION, name: "shop-mysql", namespace: "shop", database_id: null, kind: "mysql", host: "db" },
      ...{ port: 3306, user: "u", database: null, tls: "require", ca: null, schemas: ["shop"], status: "ok" },
      ...{ allowed_sync_modes: ["auto"], min_sync_interval: 1, message: "", last_test, instances: [ID], revision: 3 },
      ...{ created_at: "2026-11-21T09:00:00Z", allowedActions: { test: { allowed: true } } },
    };
    const { env, seen } = await serve((one, response) =>
      json(response, 200, one.url.includes("/events") ? [] : connection),
    );
    const shown = await lamplighter(["connection", "inspect", "shop-mysql"], { env });
    expect(shown.code).toBe(0);
    for (const line of [/^Source +u@db:3306$/m, /^Found +ok: 11\.8 answers/m, /^ +warning: loose has no key$/m])
      expect(shown.out).toMatch(line);
    const told = await lamplighter(["connection", "inspect", CONNECTION, "-o", "json"], { env });
    expect(JSON.parse(told.out)).toEqual(connection);
    expect((await lamplighter(["connection", "events", "shop-mysql"], { env })).code).toBe(0);
    expect(seen.at(-1)?.url).toMatch(`/connections/${CONNECTION}/events?`);
  });

  test("test prints each finding with the statement that mends it, and fails when the source cannot be read", async () => {
    const finding = {
      code: "repl_grant_missing",
      severity: "error",
      message: "may not read the binary log",
      fix: "GRANT …;",
    };
    const last_test = {
      ok: true,
      error: null,
      server_version: "11.8",
      latency_ms: 2,
      estimated_bytes: 1024,
      schemas: [],
      replication: { mode: "binlog", ready: false },
      findings: [finding],
    };
    const { env } = await serve((_one, response) => json(response, 200, { last_test }));
    const good = await lamplighter(["connection", "test", "shop-mysql"], { env });
    expect([good.code, good.out]).toEqual([
      0,
      expect.stringContaining("error: may not read the binary log\n  GRANT …;\n"),
    ]);
    const broken = await serve((_one, response) =>
      json(response, 200, {
        last_test: { ...last_test, ok: false, error: { code: "auth_failed", message: "access denied" } },
      }),
    );
    const bad = await lamplighter(["connection", "test", "shop-mysql"], { env: broken.env });
    expect([bad.code, bad.err]).toEqual([1, expect.stringContaining("access denied")]);
    const raw = await serve((_one, response) => json(response, 200, last_test));
    const address = ["--host", "db", "--port", "3307", "-u", "u", "--schema", "shop", "--password-stdin"];
    const unsaved = await lamplighter(["connection", "test", ...address], { env: raw.env, stdin: "s3cret\n" });
    expect(unsaved).toMatchObject({ code: 0, out: good.out });
    expect(raw.seen.at(-1)).toMatchObject({ method: "POST", url: "/connections/test" });
    expect(JSON.parse(raw.seen.at(-1)?.body ?? "")).toEqual({
      ...{ kind: "mysql", host: "db", port: 3307, user: "u", password: "s3cret", schemas: ["shop"] },
    });
    expect(unsaved.out + unsaved.err).not.toContain("s3cret");
    const both = await lamplighter(["connection", "test", "shop-mysql", "--host", "db"], { env });
    expect([both.code, both.err]).toEqual([1, expect.stringContaining("shop-mysql has an address of its own")]);
    const none = await lamplighter(["connection", "test"], { env });
    expect([none.code, none.err]).toEqual([1, expect.stringContaining("Give a connection, or --host and --user")]);
  });
});
