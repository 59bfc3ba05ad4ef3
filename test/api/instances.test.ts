import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { ConnectionView } from "../../contract/connection.ts";
import type { AuditEntry, JournalEvent } from "../../contract/event.ts";
import { InstanceState, InstanceView } from "../../contract/instance.ts";
import { INSTANCE_ACTIONS, type InstanceAction } from "../../contract/instance-action.ts";
import { INSTANCE_STATUSES, type InstanceStatus } from "../../contract/instance-status.ts";
import type { InstanceObject } from "../../objects/instance/object.ts";
import { remote } from "../../objects/remote.ts";
import { workloadProof } from "../../objects/workload-proof.ts";
import { Driven } from "../decide/driven-instance.ts";
import { fresh, makeToken, request, type Sent } from "./client.ts";

type Body = Record<string, unknown>;
const PASSWORD = "s3cret-of-the-source";

async function connection(over: Body = {}, sent: Sent = {}): Promise<ConnectionView> {
  const body = { name: fresh("src"), host: "127.0.0.1", user: "u", password: PASSWORD, schemas: ["shop"], ...over };
  const made = await request("POST", "/connections", { body, ...sent });
  if (made.status !== 201) throw new Error(made.text);
  return ConnectionView.parse(made.body);
}
async function instance(over: Body = {}): Promise<InstanceView> {
  const connection_id = over.connection_id ?? (await connection()).id;
  const body = { name: fresh("read"), connection_id, schema: "shop", ...over };
  const made = await request("POST", "/instances", { body });
  if (made.status !== 201) throw new Error(made.text);
  return InstanceView.parse(made.body);
}
const post = (id: string, action: string, body?: Body, sent: Sent = {}) =>
  request<Body>("POST", `/instances/${id}/${action}`, { ...(body === undefined ? {} : { body }), ...sent });

/** Puts an instance where the machine came to by itself in `Driven.at`; its workloads are on a host that is not there. */
async function put(id: string, status: InstanceStatus): Promise<void> {
  const { state, image } = Driven.at(status);
  await runInDurableObject(env.INSTANCE.getByName(id), (_object, { storage }) => {
    const text = JSON.stringify(InstanceState.parse({ ...state, schedule_until: Date.now() }));
    storage.sql.exec("UPDATE instance SET state = ?, revision = revision + 1", text);
    storage.sql.exec("DELETE FROM build");
    if (image !== null)
      storage.sql.exec(
        "INSERT INTO build (id, body) VALUES (?, ?)",
        BUILD,
        JSON.stringify({ ...EMPTY_BUILD, id: BUILD, status: "succeeded", deployable: true }),
      );
    storage.sql.exec("DELETE FROM timer");
    storage.sql.exec("DELETE FROM outbox");
  });
}
const BUILD = "bld_01k9j5w0n3x7m2c4v8b6z1q5rt";
const EMPTY_BUILD = {
  config: null,
  artifact: null,
  host_id: null,
  generation: null,
  schema_hash: null,
  tables: null,
  warnings: [],
  failure: null,
  created_at: 0,
  started_at: null,
  finished_at: null,
};

/** The source's table by hand once more, in the order of INSTANCE_ACTIONS; `y` and `b` are ours. */
const TABLE: Record<InstanceStatus, string> = {
  registered: "Y---Y---Y---",
  testing_connection: "------------",
  queued: "-----Q-Q----",
  building: "-----Q-Q----",
  deploying: "----YQ-Q----",
  running: "-YYiYY-Y-YYY",
  pausing: "------QQ----",
  paused: "-Y-iY-YY----",
  resuming: "-----Q-Q----",
  failed: "Yiii---Yb---",
  stopped: "Y---Y---y---",
  terminating: "------------",
  terminated: "y-------y---",
};
const BODIES: Partial<Record<InstanceAction, Body>> = { resize: { size: "small" }, redeploy: { build_id: BUILD } };

describe("the matrix over HTTP", () => {
  it.each(INSTANCE_STATUSES)("%s: all 13 actions are answered as the table says", async (status) => {
    const { id } = await instance();
    for (const [i, action] of INSTANCE_ACTIONS.entries()) {
      await put(id, status);
      const hasImage = ["running", "paused"].includes(status) || Driven.at(status).image !== null;
      const mark = TABLE[status][i] as string;
      const allowed = mark !== "-" && (mark !== "i" || hasImage);
      const view = InstanceView.parse((await request("GET", `/instances/${id}`)).body);
      expect(view.status).toBe(status);
      const said = view.allowedActions[action];
      const mode = mark === "Q" ? "queued" : "immediate";
      if (allowed) expect(said, action).toEqual({ allowed: true, mode });
      else expect(said, action).toEqual({ allowed: false, code: expect.any(String), reason: expect.any(String) });
      if (action === "delete" && allowed) {
        // Another one: this would be gone for the rest of the row.
        const gone = (await instance()).id;
        await put(gone, status);
        expect((await post(gone, action)).status, `${status} ${action}`).toBe(204);
        expect((await request("GET", `/instances/${gone}`)).status).toBe(404);
        continue;
      }
      const answer = await post(id, action, BODIES[action]);
      expect(answer.status, `${status} ${action}: ${answer.text}`).toBe(allowed ? 202 : 409);
      if (!allowed)
        expect(answer.body).toMatchObject({
          code: "action_not_allowed",
          resource_status: status,
          allowedActions: expect.any(Object),
        });
      else if (mode === "queued") expect(answer.body).toMatchObject({ status, goal: { action, by: "user" } });
      else expect(answer.body.desired_state).toBeNull();
    }
    await put(id, status);
    const cancelled = await post(id, "cancel-goal");
    expect([cancelled.status, cancelled.body.action_code]).toEqual([409, "no_goal"]);
  });

  it("failed, before anything was built: provision is the way out", async () => {
    const { id } = await instance();
    await put(id, "failed");
    const { body } = await request<Body>("GET", `/instances/${id}`);
    const allowed = body.allowedActions as Record<string, Body>;
    for (const action of ["rebuild", "reconfigure", "redeploy"])
      expect(allowed[action]).toMatchObject({ allowed: false, code: "no_image" });
    expect(allowed.provision).toEqual({ allowed: true, mode: "immediate" });
  });
});

describe("goals over HTTP", () => {
  it("one at a time, until it is cancelled: by our path and by the source's", async () => {
    const { id } = await instance();
    await put(id, "building");
    expect((await post(id, "pause")).body).toMatchObject({ status: "building", desired_state: "paused" });
    expect((await post(id, "pause")).status).toBe(202);
    const conflict = await post(id, "terminate");
    expect([conflict.status, conflict.body.code, conflict.body.action_code]).toEqual([
      409,
      "goal_conflict",
      "goal_conflict",
    ]);
    const there = await request<Body>("GET", `/databases/${id}/instance`);
    expect(there.body).toMatchObject({
      database: { id, status: "building", desiredState: "paused", taskCpu: 256, taskMemoryMb: 512 },
      connection: { minSyncInterval: 1, allowedSyncModes: expect.any(Array), availableSchemas: ["shop"] },
      allowedActions: { "cancel-goal": { allowed: true, mode: "immediate" } },
    });
    expect((await request<Body>("GET", `/databases/${id}/builds`)).body).toEqual({
      builds: [],
      activeBuildId: "bld_1",
    });
    const cancelled = await request<Body>("DELETE", `/databases/${id}/desired-state`);
    expect([cancelled.status, cancelled.body]).toEqual([
      200,
      { status: "building", desiredState: null, mode: "immediate", allowedActions: expect.any(Object) },
    ]);
    const queued = await request<Body>("POST", `/databases/${id}/terminate`);
    expect([queued.status, queued.body]).toEqual([
      202,
      expect.objectContaining({ status: "building", desiredState: "terminated", mode: "queued" }),
    ]);
    const events = await request<JournalEvent[]>("GET", `/instances/${id}/events`);
    expect(events.body.map(({ reason }) => reason).slice(0, 3)).toEqual(["goal_set", "goal_cancelled", "goal_set"]);
  });

  it("a goal of before is not the mode of what is done at once", async () => {
    const { id } = await instance();
    await put(id, "deploying");
    const queued = await request<Body>("POST", `/databases/${id}/pause`);
    const resized = await request<Body>("POST", `/databases/${id}/resize`, { body: { instanceSize: "small" } });
    expect([queued.body.mode, resized.body.mode, resized.body.desiredState]).toEqual(["queued", "immediate", "paused"]);
  });

  it("the source's redeploy and pause-replication answer what its documents say", async () => {
    const { id } = await instance();
    await put(id, "running");
    const paused = await request<Body>("POST", `/databases/${id}/pause-replication`);
    expect(paused.body).toMatchObject({ status: "running", replication_paused: true });
    const redeployed = await request<Body>("POST", `/databases/${id}/redeploy`, { body: { buildId: BUILD } });
    expect([redeployed.status, redeployed.body.status]).toEqual([202, "deploying"]);
    const unknown = await request<Body>("GET", "/databases/db_01k9j5w0n3x7m2c4v8b6z1q5rt/instance");
    expect(unknown.status).toBe(404);
  });

  it("a managed database's id stands for the one instance that reads from it", async () => {
    const database = await request<Body>("POST", "/databases", { body: { name: fresh("d").replaceAll("-", "_") } });
    const database_id = database.body.id as string;
    const managed = { name: fresh("conn"), database_id, schemas: ["shop"] };
    const unfit = await request<Body>("POST", "/connections", { body: { ...managed, host: "db", kind: "mysql" } });
    expect([unfit.status, unfit.text.match(/connection\.(host|kind)\.managed/g)]).toEqual([
      422,
      ["connection.host.managed", "connection.kind.managed"],
    ]);
    const strange = await request<Body>("POST", "/connections/test", { body: { host: "d b", port: 0, password: "p" } });
    expect([strange.status, strange.text.match(/"property_path":"\w+"/g)]).toEqual([
      422,
      ['"property_path":"host"', '"property_path":"port"', '"property_path":"user"'],
    ]);
    const nowhere = await request<Body>("POST", "/connections", { body: { name: fresh("conn"), schemas: ["shop"] } });
    expect(nowhere.text.match(/connection\.\w+\.required/g)).toHaveLength(3);
    const { body: through } = await request<Body>("POST", "/connections", { body: managed });
    expect(through).toMatchObject({ kind: "postgres", host: null, user: null, database_id });
    const made = await instance({ connection_id: through.id });
    const read = await request<Body>("GET", `/databases/${database_id}/instance`);
    expect(read.body).toMatchObject({ database: { id: made.id } });
    await instance({ connection_id: through.id });
    expect((await request("GET", `/databases/${database_id}/instance`)).status).toBe(404);
  });
});

describe("mutations", () => {
  it("the same request is done once; another revision and another request of its key are refused", async () => {
    const { id, revision } = await instance();
    const key = { headers: { "idempotency-key": crypto.randomUUID() } };
    const first = await post(id, "resize", { size: "medium" }, key);
    const again = await post(id, "resize", { size: "medium" }, key);
    expect([first.status, again.text]).toEqual([202, first.text]);
    expect((await post(id, "resize", { size: "large" }, key)).body.code).toBe("idempotency_key_reused");
    const stale = await post(id, "resize", { size: "large" }, { headers: { "if-match": `"r${revision}"` } });
    expect(stale.body.code).toBe("precondition_failed");
    const trail = await request<AuditEntry[]>("GET", `/audit?resource_id=${id}`);
    expect(trail.body.filter(({ action }) => action === "resize")).toHaveLength(1);
  });

  it("a name is taken until its instance is deleted, and its connection stays until then", async () => {
    const through = await connection();
    const name = fresh("taken");
    const made = await instance({ name, connection_id: through.id });
    const body = { name, connection_id: through.id, schema: "shop" };
    expect((await request<Body>("POST", "/instances", { body })).body.code).toBe("name_taken");
    const inUse = await request<Body>("DELETE", `/connections/${through.id}`);
    expect([inUse.body.code, inUse.body.instances]).toEqual(["connection_in_use", [made.id]]);
    expect((await request("DELETE", `/instances/${made.id}`)).status).toBe(204);
    await expect.poll(async () => (await request("POST", "/instances", { body })).status, { timeout: 5000 }).toBe(201);
  });

  it.each([
    [{ schema: "other" }, "schema", "instance.schema.unknown"],
    [{ sync_mode: "logical" }, "sync_mode", "instance.sync_mode.kind"],
    [{ sync_interval: 1 }, "sync_interval", "instance.sync_interval.too_short"],
    [{ name: "Ä" }, "name", "instance.name.format"],
    [{ idle_pause: "5s" }, "idle_pause", "instance.idle_pause.invalid"],
    [
      { pause_schedule: { pause_at: "20:00", resume_at: "20:00" } },
      "pause_schedule.resume_at",
      "instance.pause_schedule.same",
    ],
    [{ pause_schedule: { pause_at: "20:00", resume_at: "7:00" } }, "pause_schedule.resume_at", "invalid_format"],
    [
      { pause_schedule: { pause_at: "20:00", resume_at: "07:00", time_zone: "Mars/Base" } },
      "pause_schedule.time_zone",
      "instance.pause_schedule.invalid",
    ],
    [{ size: "huge" }, "size", "invalid_value"],
    [{ config: "" }, "config", "instance.config.invalid"],
    [{ config: "version: 1\ntables: [" }, "config", "instance.config.yaml"],
    [{ config: "version: 1\nsync: { interval: 0 }" }, "config.sync.interval", "instance.config.invalid"],
    [{ config: { version: 1, tabels: [] } }, "config.tabels", "instance.config.unknown_key"],
    [{ config: 5 }, "config", "invalid_union"],
  ])("%j is refused, and leaves nothing behind", async (over, property_path, code) => {
    const through = await connection({ min_sync_interval: 5 });
    const name = fresh("bad");
    const answer = await request<{ violations: Body[] }>("POST", "/instances", {
      body: { name, connection_id: through.id, schema: "shop", ...over },
    });
    expect([answer.status, answer.body.violations]).toEqual([422, [expect.objectContaining({ property_path, code })]]);
    expect((await request("DELETE", `/connections/${through.id}`)).status).toBe(204);
  });

  it("what is wrong is told all at once, whether a schema can say it or not", async () => {
    const pause_schedule = { pause_at: "20:00", resume_at: "07:00", time_zone: "Mars/Base" };
    const answer = await request<{ violations: { property_path: string }[] }>("POST", "/instances", {
      body: { name: fresh("bad"), size: "huge", idle_pause: "1s", pause_schedule, config: "version: 2", colour: 1 },
    });
    expect(answer.body.violations.map(({ property_path }) => property_path).sort()).toEqual([
      ...["colour", "config.version", "connection_id", "idle_pause", "pause_schedule.time_zone", "schema", "size"],
    ]);
  });

  it("what reflexdb.yaml says may come as an object", async () => {
    const config = { version: 1, tables: [{ name: "orders", columns: ["id"] }] };
    const { id, config: stored } = await instance({ config });
    expect(JSON.parse(stored ?? "")).toEqual(config);
    expect((await request("PATCH", `/instances/${id}`, { body: { config: { version: 2 } } })).status).toBe(422);
    const text = await request<Body>("PATCH", `/instances/${id}`, { body: { config: "version: 1\n" } });
    expect(text.body.config).toBe("version: 1\n");
  });

  it("a patch stores, and says what would have to be done for it to hold", async () => {
    const { id } = await instance();
    await put(id, "running");
    const patched = await request<Body>("PATCH", `/instances/${id}`, { body: { sync_interval: 5, idle_pause: "30m" } });
    expect(patched.body).toMatchObject({ status: "running", pending_changes: ["sync_interval"], idle_pause: "30m" });
  });

  it("what is in another namespace is not there for a token", async () => {
    const { id } = await instance();
    const space = fresh("ns");
    const { token } = await makeToken(["instances:write", "instances:read", "connections:read"], {
      namespaces: [space],
    });
    expect((await request("GET", `/instances/${id}`, { token })).status).toBe(404);
    expect((await post(id, "provision", undefined, { token })).status).toBe(404);
    expect((await request<Body[]>("GET", "/instances", { token })).body).toEqual([]);
    const reader = await makeToken(["instances:read"]);
    expect((await post(id, "provision", undefined, { token: reader.token })).status).toBe(403);
  });
});

describe("connections", () => {
  it("never answer the password: not in answers, lists, events or the trail", async () => {
    const made = await connection();
    await request("PATCH", `/connections/${made.id}`, { body: { password: `${PASSWORD}-2` } });
    for (const path of [
      `/connections/${made.id}`,
      "/connections?limit=1000",
      `/connections/${made.id}/events`,
      "/audit?limit=1000",
    ])
      expect((await request("GET", path)).text, path).not.toContain(PASSWORD);
    const stored = await runInDurableObject(env.CONNECTION.getByName(made.id), (_object, { storage }) =>
      JSON.stringify(storage.sql.exec("SELECT * FROM connection").toArray()),
    );
    expect(stored).not.toContain(PASSWORD);
    expect(stored).toContain("lampseal1.k2.");
  });

  it("a schema that an instance reads cannot go; a test without a host says so", async () => {
    const made = await connection({ schemas: ["shop", "old"] });
    await instance({ connection_id: made.id });
    const lost = await request<Body>("PATCH", `/connections/${made.id}`, { body: { schemas: ["old"] } });
    expect(lost.body.code).toBe("connection_in_use");
    expect((await request("PATCH", `/connections/${made.id}`, { body: { schemas: ["shop"] } })).status).toBe(200);
    const tested = await request<Body>("POST", `/connections/${made.id}/test-connection`, {
      headers: { prefer: "wait=5" },
    });
    expect([tested.status, tested.body.status]).toEqual([200, "failing"]);
    expect(tested.body.last_test).toMatchObject({ ok: false, error: { code: "no_capacity" } });
  });
});

describe("keys", () => {
  it("are shown once, are an HMAC that an engine can check alone, and the same request gets the same one", async () => {
    const { id } = await instance();
    const sent = { headers: { "idempotency-key": crypto.randomUUID() } };
    const body = { name: "storefront", tables: ["products"], rows: { products: "active = true" } };
    const made = await post(id, "keys", body, sent);
    expect([made.status, made.body.key]).toEqual([201, expect.stringMatching(/^rxk_key_[0-9a-z]{26}\.[\w-]{43}$/)]);
    expect((await post(id, "keys", body, sent)).text).toBe(made.text);
    const torn = { name: "torn", rows: { products: "price > 5 AND\n (stock = " } };
    expect(await request("POST", `/instances/${id}/keys`, { body: torn })).toMatchObject({
      status: 422,
      body: {
        code: "validation_failed",
        violations: [{ property_path: "rows.products", code: "instance.key.parse_error", line: 2, column: 11 }],
      },
    });
    const listed = await request<Body[]>("GET", `/instances/${id}/keys`);
    expect(listed.body).toMatchObject([{ name: "storefront", tables: ["products"], expires_at: null }]);
    expect(listed.text).not.toContain("rxk_");
    const everything = await runInDurableObject(env.INSTANCE.getByName(id), (_object, { storage }) =>
      ["key_secret", "api_key", "request", "journal", "audit"].map((table) =>
        storage.sql.exec(`SELECT * FROM ${table}`).toArray(),
      ),
    );
    expect(JSON.stringify(everything)).not.toContain((made.body.key as string).split(".")[1]);
    expect((await request("DELETE", `/instances/${id}/keys/${made.body.id}`)).status).toBe(204);
    expect((await request("DELETE", `/instances/${id}/keys/${made.body.id}`)).status).toBe(404);
    expect((await request("GET", `/instances/${id}/keys`)).text).toBe("[]");
  });
});

describe("reports", () => {
  it("are believed with the workload's own token only, and refused when nobody waits for them", async () => {
    const { id } = await instance();
    const workload_id = `${id}-2`;
    const body = {
      workload_id,
      generation: 1,
      operation: { id: "op_x", revision: 1 },
      body: { kind: "loaded", rows: 1, tables: 1 },
    };
    const send = (token: string | null, over: Body = {}) =>
      request<Body>("POST", `/instances/${id}/reports`, { token, body: { ...body, ...over } });
    expect((await send(null)).status).toBe(401);
    expect((await send(`lampw_${"x".repeat(32)}`)).status).toBe(401);
    const own = await workloadProof(env, workload_id, 1);
    expect((await send(own, { generation: 2 })).status).toBe(401);
    expect((await send(own)).body.code).toBe("stale_report");
    const instanceOf = remote<InstanceObject>(env.INSTANCE, id);
    expect(await instanceOf.needsCapacity("bld_x")).toBe(false);
  });
});
