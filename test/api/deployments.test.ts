import { env } from "cloudflare:workers";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { DeploymentView } from "../../contract/deployment.ts";
import { AuditEntry, JournalEvent } from "../../contract/event.ts";
import { freeze, fresh, request, sleeper } from "./client.ts";

beforeAll(freeze);
afterAll(() => void vi.useRealTimers());

type View = DeploymentView & Record<string, unknown>;
const apply = (body: unknown, headers: Record<string, string> = {}, path = "/deployments") =>
  request<View>("POST", path, { body, headers });

describe("POST /deployments", () => {
  it("makes a deployment, and answers it with its address, revision and what may be done", async () => {
    const body = sleeper();
    const made = await apply(body, {}, "/v1/deployments");
    expect(made.status).toBe(201);
    const view = DeploymentView.parse(made.body);
    expect(view).toMatchObject({
      name: body.name,
      namespace: "default",
      status: "pending",
      allowedActions: { delete: { allowed: true } },
    });
    expect(made.headers.get("location")).toBe(`/v1/deployments/${view.id}`);
    expect(made.headers.get("etag")).toBe(`"r${view.revision}"`);
    const read = await request<View>("GET", `/deployments/${view.id}`);
    expect(DeploymentView.parse(read.body).id).toBe(view.id);
    expect(read.headers.get("etag")).toBe(`"r${read.body.revision}"`);
    const again = await apply(body);
    expect([again.status, again.body.id]).toEqual([200, view.id]);
    expect(again.headers.get("location")).toBeNull();
    const other = await apply({ ...body, command: ["sleep", "200"] });
    expect([other.status, other.body.replaces]).toEqual([201, view.id]);
  });

  it("carries out the same request with the same key once", async () => {
    const headers = { "idempotency-key": `key with spaces ${crypto.randomUUID()}` };
    const body = sleeper();
    const all = await Promise.all(Array.from({ length: 8 }, () => apply(body, headers)));
    expect(new Set(all.map(({ text }) => text)).size).toBe(1);
    // Under the other prefix it is the same request.
    expect((await apply(body, headers, "/v1/deployments")).text).toBe(all[0]?.text);
    const changed = await apply({ ...body, replicas: 3 }, headers);
    expect([changed.status, changed.body.code]).toEqual([422, "idempotency_key_reused"]);
    const bad = await apply(body, { "idempotency-key": "x".repeat(256) });
    expect([bad.status, bad.body.violations]).toMatchObject([422, [{ property_path: "Idempotency-Key" }]]);
  });

  it("says with dry_run what would happen, and changes nothing", async () => {
    const body = sleeper({ namespace: fresh("dry") });
    const dry = await apply(body, {}, "/deployments?dry_run=true");
    expect([dry.status, dry.body]).toMatchObject([
      200,
      { dry_run: true, action: "create", manifest: { name: body.name, replicas: 1, stop_timeout: "10s" } },
    ]);
    expect((await request("GET", `/deployments?namespace=${body.namespace}`)).text).toBe("[]");
    expect((await apply({ ...body, replicas: -1 }, {}, "/deployments?dry_run")).status).toBe(422);
  });

  it("never answers a registry's password", async () => {
    const body = { name: fresh("pw"), image: "x", config: { username: "u", password: "hunter2hunter2" } };
    const dry = await apply(body, {}, "/deployments?dry_run=1");
    const made = await apply(body);
    const reads = await Promise.all(
      ["", "/events", "/explain"].map((part) => request("GET", `/deployments/${made.body.id}${part}`)),
    );
    for (const { text } of [dry, made, ...reads, await request("GET", "/deployments")])
      expect(text).not.toContain("hunter2");
  });
});

describe("a revision", () => {
  it("guards a change, and saves a read", async () => {
    const { body } = await apply(sleeper());
    const path = `/deployments/${body.id}`;
    // Until it has been looked at where it could run.
    await vi.waitFor(async () => {
      const before = await request("GET", path);
      await scheduler.wait(60);
      expect([before.body.reason, (await request("GET", path)).body.revision]).toEqual([
        "no_host_fits",
        before.body.revision,
      ]);
    });
    const etag = (await request("GET", path)).headers.get("etag") as string;
    const same = await request("GET", path, { headers: { "if-none-match": `"r0", W/${etag}` } });
    expect([same.status, same.text, same.headers.get("etag")]).toEqual([304, "", etag]);
    expect((await request("GET", path, { headers: { "if-none-match": '"r0"' } })).status).toBe(200);
    for (const wrong of ['"r99"', "r1", '"1"', `W/${etag}`]) {
      const refused = await request("DELETE", path, { headers: { "if-match": wrong } });
      expect([refused.status, refused.body.code], wrong).toEqual([412, "precondition_failed"]);
    }
    expect((await request("DELETE", path, { headers: { "if-match": etag } })).status).toBe(204);
  });
});

describe("waiting", () => {
  it("ends when the time is over, when the status is there, and is said to be applied", async () => {
    vi.useRealTimers();
    const started = Date.now();
    const { body, headers } = await apply(sleeper(), { prefer: "respond-async, wait=1" });
    expect(Date.now() - started).toBeGreaterThanOrEqual(950);
    expect([body.status, headers.get("preference-applied")]).toEqual(["pending", "wait=1"]);
    expect((await request("GET", `/deployments/${body.id}?wait=running,pending&timeout=30s`)).body.status).toBe(
      "pending",
    );
    const late = await request("GET", `/deployments/${body.id}?wait=running&timeout=200ms`);
    expect(late.body.status).toBe("pending");
    const waiting = request("GET", `/deployments/${body.id}?wait=deleted&timeout=20s`);
    await request("DELETE", `/deployments/${body.id}`);
    expect([200, 404]).toContain((await waiting).status);
    for (const query of ["wait=up", "wait=", "wait=running&timeout=1x", "wait=running&timeout=6m"]) {
      expect((await request("GET", `/deployments/${body.id}?${query}`)).status, query).toBe(400);
    }
    const gone = await apply(sleeper());
    const deleted = await request("DELETE", `/deployments/${gone.body.id}`, { headers: { prefer: "wait=10" } });
    expect([deleted.status, deleted.headers.get("preference-applied")]).toEqual([204, "wait=10"]);
    expect((await request("GET", `/deployments/${gone.body.id}`)).status).toBe(404);
    freeze();
  });
});

describe("what is told about a deployment", () => {
  it("is its events, its explanation, its metrics and its trail", async () => {
    const namespace = fresh("told");
    const { body } = await apply(sleeper({ namespace }), { "x-request-id": "told-1" });
    const events = await request<unknown[]>("GET", `/deployments/${body.id}/events?limit=1`);
    expect(events.body).toHaveLength(1);
    JournalEvent.parse(events.body[0]);
    expect((await request("GET", `/deployments/${body.id}/events?level=error`)).text).toBe("[]");
    expect((await request("GET", `/deployments/${body.id}/events?level=bad`)).status).toBe(400);
    expect((await request("GET", `/deployments/${body.id}/explain`)).body).toMatchObject({
      id: body.id,
      status: "pending",
    });
    expect((await request("GET", `/deployments/${body.id}/metrics`)).body).toMatchObject({
      deployment_id: body.id,
      instance_count: 0,
      total_memory: { usage_bytes: 0, limit_bytes: 0, usage_percent: 0 },
      instances: [],
    });
    expect((await request("GET", `/deployments/${body.id}/logs`)).text).toBe("[]");
    const exec = await request("POST", `/deployments/${body.id}/exec`, { body: { command: ["ls"] } });
    expect([exec.status, exec.body.code, exec.body.resource_status]).toEqual([409, "action_not_allowed", "pending"]);
    await vi.waitFor(async () => {
      const trail = await request<AuditEntry[]>("GET", `/audit?namespace=${namespace}`);
      const told = { resource_kind: "deployment", resource_id: body.id };
      expect(trail.body.map((entry) => AuditEntry.parse(entry))).toMatchObject([
        // The namespace came about with its first deployment.
        { action: "create", resource_kind: "namespace", resource_name: namespace, request_id: "told-1" },
        {
          action: "create",
          actor: "root",
          ...told,
          namespace,
          before_revision: null,
          after_revision: 1,
          request_id: "told-1",
        },
      ]);
    });
    expect((await request("GET", `/audit?namespace=${namespace}&actor=nobody`)).text).toBe("[]");
  });

  it("is not there for an id that does not exist", async () => {
    expect(await env.DEPLOYMENT.getByName("dep_00000000000000000000000000").read([])).toMatchObject({ ok: false });
  });
});
