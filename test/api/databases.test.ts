import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { CredentialView, DatabaseView } from "../../contract/database.ts";
import { Lookup } from "../../contract/gateway.ts";
import { credentials } from "../../contract/scram.ts";
import { restoreTarget, whyNotRestorable } from "../../src/api/database-restore.ts";
import { DATABASE } from "../../src/database-example.ts";
import type { ProblemError } from "../../src/problem.ts";
import worker from "../../src/worker.ts";
import { makeToken, ROOT, request, type Sent } from "./client.ts";

type Made = DatabaseView & { password: string; dsn: string };
type Refusal = { code: string; violations: { property_path: string }[]; allowedActions?: Record<string, unknown> };
const name = () => `d_${crypto.randomUUID().replaceAll("-", "")}`;

async function make(body: Record<string, unknown> = {}, sent: Sent = {}): Promise<Made> {
  const made = await request<Made>("POST", "/databases", {
    body: { name: name(), ...body },
    ...sent,
    headers: { prefer: "wait=10", ...sent.headers },
  });
  if (made.status !== 201) throw new Error(made.text);
  return made.body;
}
const lookup = async (role: string, database: string, token?: string) =>
  (await request<Lookup>("POST", "/gateway/lookups", { body: { role, database }, ...(token ? { token } : {}) })).body;

describe("making a database", () => {
  it("starts nothing, and shows the password once", async () => {
    const placement = { labels: { zone: "eu" } };
    const made = await make({ placement });
    DatabaseView.parse(made);
    expect(made.placement).toEqual(placement);
    expect([made.state, made.status, made.current_scale, made.durability.kind]).toEqual([
      "stopped",
      "stopped",
      0,
      "host",
    ]);
    expect(made.dsn).toBe(`postgres://${made.role}:${made.password}@<gateway>/${made.name}?sslmode=require`);
    const read = await request("GET", `/databases/${made.id}`);
    const listed = await request<DatabaseView[]>("GET", `/databases?name=${made.name}`);
    const events = await request("GET", `/databases/${made.id}/events`);
    const explained = await request("GET", `/databases/${made.id}/explain`);
    const credential = await request("GET", `/databases/${made.id}/credentials`);
    for (const { status, text } of [read, listed, events, explained, credential]) {
      expect(status).toBe(200);
      expect(text).not.toContain(made.password);
    }
    expect(listed.body.map(({ id }) => id)).toEqual([made.id]);
    // Nothing that a list could not keep true.
    for (const member of ["active_connections", "awake_because", "idle_stop_at"])
      expect([member in (listed.body[0] as object), member in (read.body as object)]).toEqual([false, true]);
    expect(explained.body).toMatchObject({ asleep_because: "nobody has connected to it yet", awake_because: [] });
  });

  it("with an Idempotency-Key is done once, and answered the same, password and all", async () => {
    const sent = { body: { name: name() }, headers: { "idempotency-key": crypto.randomUUID() } };
    const first = await request<Made>("POST", "/databases", sent);
    const again = await request<Made>("POST", "/databases", sent);
    expect([again.status, again.body.id, again.body.password]).toEqual([201, first.body.id, first.body.password]);
    const other = await request<Refusal>("POST", "/databases", { ...sent, body: { name: name() } });
    expect([other.status, other.body.code]).toEqual([422, "idempotency_key_reused"]);
    const taken = await request<Refusal>("POST", "/databases", { body: { name: first.body.name } });
    expect([taken.status, taken.body.code]).toEqual([409, "name_taken"]);
  });

  it.each([
    [{}, "name"],
    [{ name: "9lives" }, "name"],
    [{ name: "with space" }, "name"],
    [{ name: "postgres" }, "name"],
    [{ name: "pg_x" }, "name"],
    [{ name: "x".repeat(64) }, "name"],
    [{ name: "ok", idle_timeout: 4 }, "idle_timeout"],
    [{ name: "ok", idle_timeout: -1 }, "idle_timeout"],
    [{ name: "ok", profile: "L9" }, "profile"],
    [{ name: "ok", allowed_addresses: ["10.0.0.1"] }, "allowed_addresses[0]"],
    [{ name: "ok", start_immediately: true }, "start_immediately"],
  ])("%j is refused for %s", async (body, path) => {
    const refused = await request<Refusal>("POST", "/databases", { body });
    expect([refused.status, refused.body.code]).toEqual([422, "validation_failed"]);
    expect(refused.body.violations.map(({ property_path }) => property_path)).toContain(path);
  });
});

describe("keepers that cannot be meant", () => {
  const asked = async (settings: Record<string, string>, path: string, body: unknown) => {
    const asks = new Request(`http://lamplighter${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${ROOT}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const context = createExecutionContext();
    const answer = await worker.fetch(asks, { ...env, ...settings }, context);
    await waitOnExecutionContext(context);
    return { status: answer.status, text: await answer.text() };
  };

  it.each([
    [{ KEEPERS: "a=http://127.0.0.1:7999" }, /KEEPERS: entry 1 is not of the form/],
    [{ KEEPERS: "a=http://:hush@h:1,a=http://:hush@h:2" }, /KEEPERS: the name a is there twice/],
    [{ KEEPERS: "a=http://:hush@h:1", KEEPER_QUORUM: "two" }, /KEEPER_QUORUM: expected a whole number from 1 to 1/],
  ])("%j: no database is made, and the answer says why", async (settings, detail) => {
    const refused = await asked(settings, "/databases", { name: name() });
    expect([refused.status, JSON.parse(refused.text)]).toEqual([
      503,
      expect.objectContaining({ code: "keepers_misconfigured", detail: expect.stringMatching(detail) }),
    ]);
    expect(refused.text).not.toContain("hush");
  });
});

describe("what is done with a database", () => {
  it.each(["start", "stop", "scale"])("%s is disabled, and says so", async (action) => {
    const { id } = await make();
    const answer = await request<Refusal>("POST", `/databases/${id}/${action}`);
    expect([answer.status, answer.body.code]).toEqual([409, "operation_disabled"]);
    expect(answer.body.allowedActions?.[action]).toMatchObject({ allowed: false, code: "operation_disabled" });
    expect((await request(`POST`, `/databases/db_${"0".repeat(26)}/${action}`)).status).toBe(404);
  });

  it("is changed with If-Match, and deleted with everything", async () => {
    const made = await make();
    const { headers, body } = await request<DatabaseView>("GET", `/databases/${made.id}`);
    const etag = headers.get("etag") as string;
    expect((await request("GET", `/databases/${made.id}`, { headers: { "if-none-match": etag } })).status).toBe(304);
    const patch = { body: { idle_timeout: 0, profile: "L2" }, headers: { "if-match": etag } };
    const changed = await request<DatabaseView>("PATCH", `/databases/${made.id}`, patch);
    expect(changed.body).toMatchObject({ idle_timeout: 0, target_profile: "L2", revision: body.revision + 1 });
    expect((await request("PATCH", `/databases/${made.id}`, patch)).status).toBe(412);
    expect((await request("DELETE", `/databases/${made.id}`)).status).toBe(204);
    await expect.poll(async () => (await request("GET", `/databases/${made.id}`)).status).toBe(404);
    await make({ name: made.name });
  });

  it("cannot be restored from when nothing is kept", async () => {
    const { id } = await make();
    const answer = await request<Refusal>("POST", `/databases/${id}/restore`, { body: { name: name() } });
    expect([answer.status, answer.body.code]).toEqual([409, "action_not_allowed"]);
  });
});

describe("the moment of a copy", () => {
  const at = (text: string) => Date.parse(text);
  const now = at("2026-11-21T12:00:00.000Z");
  const source = (over: Partial<DatabaseView> = {}) =>
    ({
      ...{ ...DATABASE, restorable_since: "2026-11-20T12:00:00.000Z", allowedActions: { restore: { allowed: true } } },
      ...over,
    }) as DatabaseView;

  it.each([
    ["the present, when none is named", {}, { time: now }],
    ["the oldest that is kept", { time: "2026-11-20T12:00:00.000Z" }, { time: at("2026-11-20T12:00:00.000Z") }],
    ["by another clock", { time: "2026-11-21T12:30:00+02:00" }, { time: at("2026-11-21T10:30:00Z") }],
    ["a position", { lsn: "0/15D68C8" }, { lsn: "0/15D68C8" }],
  ])("%s", (_what, asked, target) => {
    expect(restoreTarget(asked, source(), now)).toEqual(target);
  });

  it.each([
    ["in the future", "2026-11-21T12:00:00.001Z", {}, "time.future"],
    ["before the oldest base backup", "2026-11-20T11:59:59.999Z", {}, "time.too_early"],
    [
      "before it was made",
      "2026-11-21T09:29:59Z",
      { restorable_since: null, created_at: "2026-11-21T09:30:00.000Z" },
      "time.too_early",
    ],
  ])("%s is refused", (_what, time, over, code) => {
    try {
      restoreTarget({ time }, source(over), now);
      expect.unreachable();
    } catch (error) {
      const { refusal } = error as ProblemError;
      expect([refusal.code, refusal.violations]).toMatchObject([
        "validation_failed",
        [{ property_path: "time", code }],
      ]);
    }
  });

  it.each([
    [source(), null],
    [source({ term: 0 }), /never started/],
    [source({ durability: { kind: "host", keepers: [], quorum: 0 } }), /no keepers/],
    [source({ allowedActions: {}, state: "deleting" }), /is deleting/],
  ])("a source that none can be made of says why", (view, why) => {
    const said = whyNotRestorable(view);
    if (why === null) expect(said).toBeNull();
    else expect(said).toMatch(why);
  });
});

describe("passwords", () => {
  it("two are valid at once, and the answer of a gateway's question has verifiers of both, and nothing else", async () => {
    const made = await make();
    const rotated = await request<CredentialView & { password: string }>("POST", `/databases/${made.id}/credentials`);
    expect(rotated.status).toBe(201);
    CredentialView.parse(rotated.body);
    const known = Lookup.parse(await lookup(made.role, made.name));
    const salt = Uint8Array.from(atob(known.salt), (char) => char.charCodeAt(0));
    const stored = async (password: string) =>
      (await credentials("x", password, { salt, iterations: known.iterations })).verifier.stored_key;
    expect(known.verifiers.map(({ stored_key }) => stored_key)).toEqual([
      await stored(rotated.body.password),
      await stored(made.password),
    ]);
    const [, old] = (await request<CredentialView[]>("GET", `/databases/${made.id}/credentials`)).body;
    expect((await request("DELETE", `/databases/${made.id}/credentials/${old?.id}`)).status).toBe(204);
    expect((await lookup(made.role, made.name)).verifiers.length).toBe(1);
    const variables = env as { GATEWAY_SERVER_NAMES?: string };
    variables.GATEWAY_SERVER_NAMES = "db.example.com,*.db.example.com";
    const named = (await lookup(made.role, made.name)).database?.server_names;
    delete variables.GATEWAY_SERVER_NAMES;
    expect(named).toEqual(["db.example.com", "*.db.example.com"]);
    const current = rotated.body.id;
    expect((await request("DELETE", `/databases/${made.id}/credentials/${current}`)).status).toBe(409);
  });

  it("a role that does not exist is answered alike, each time the same", async () => {
    const made = await make();
    const real = await lookup(made.role, made.name);
    for (const role of ["u_00000000000000000000000000", "postgres", "admin"]) {
      const first = Lookup.parse(await lookup(role, "x"));
      expect([first.verifiers, first.database, first.iterations]).toEqual([[], null, real.iterations]);
      expect(first.salt.length).toBe(real.salt.length);
      expect(await lookup(role, "x")).toEqual(first);
    }
    expect(await lookup(made.role, "another")).toMatchObject({ database: null, verifiers: [{}] });
  });
});

describe("who may", () => {
  it("reading, changing and being a gateway are three scopes; a token of other namespaces sees nothing", async () => {
    const made = await make();
    const reader = (await makeToken(["databases:read"])).token;
    const gateway = (await makeToken(["databases:connect"])).token;
    const elsewhere = (await makeToken(["databases:read", "databases:connect"], { namespaces: ["elsewhere"] })).token;
    const status = async (method: string, path: string, token: string, body?: unknown) =>
      (await request(method, path, { token, ...(body === undefined ? {} : { body }) })).status;
    expect(await status("GET", `/databases/${made.id}`, reader)).toBe(200);
    expect(await status("DELETE", `/databases/${made.id}`, reader)).toBe(403);
    expect(await status("POST", "/gateway/lookups", reader, { role: made.role, database: made.name })).toBe(403);
    expect(await status("GET", `/databases/${made.id}`, gateway)).toBe(403);
    expect((await lookup(made.role, made.name, gateway)).database?.id).toBe(made.id);
    expect(await status("GET", `/databases/${made.id}`, elsewhere)).toBe(404);
    expect((await lookup(made.role, made.name, elsewhere)).verifiers).toEqual([]);
    const lease = `/gateway/databases/${made.id}/lease?boot_id=b`;
    const upgrade = { upgrade: "websocket" };
    expect((await request("GET", lease, { token: elsewhere, headers: upgrade })).status).toBe(404);
    expect((await request("GET", lease, { token: reader, headers: upgrade })).status).toBe(403);
    expect((await request("GET", lease, { token: gateway })).status).toBe(400);
  });
});
