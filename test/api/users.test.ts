import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SCOPES } from "../../contract/scope.ts";
import { LoggedIn, ROLE_SCOPES, UserView } from "../../contract/user.ts";
import { USER_DIRECTORY } from "../../objects/user/record.ts";
import { freeze, fresh, makeToken, NOW, request } from "./client.ts";

const PASSWORD = "correct horse";
const DAY = 86_400_000;

type Made = { id: string; username: string };

async function makeUser(role = "viewer", password = PASSWORD): Promise<Made> {
  const username = fresh("u");
  const made = await request<Made>("POST", "/users", { body: { username, password, role } });
  expect(made.status, made.text).toBe(201);
  return { id: made.body.id, username };
}

const tryLogin = (username: string, password = PASSWORD, headers: Record<string, string> = {}) =>
  request<{ token: string; code: string; detail: string }>("POST", "/login", {
    token: null,
    body: { username, password },
    headers,
  });

async function login({ username }: Made, password = PASSWORD): Promise<string> {
  const answer = await tryLogin(username, password);
  expect(answer.status, answer.text).toBe(200);
  return answer.body.token;
}

/** As if there had been more failures: each takes a fifth of a second. */
const pretend = (more: number, subject: string) =>
  runInDurableObject(env.USER.getByName(USER_DIRECTORY), (_, { storage }) => {
    const sql = "UPDATE attempt SET failures = failures + ? WHERE subject = ?";
    expect(storage.sql.exec(sql, more, subject).rowsWritten).toBeGreaterThan(0);
  });

const whoami = async (token: string) => (await request("GET", "/whoami", { token })).status;

beforeEach(freeze);
afterEach(() => void vi.useRealTimers());

// There must always be an admin: this one is there before the tests, and stays.
afterAll(async () => {
  await makeUser("admin");
});

describe("a user", () => {
  it("is made with a role, answered in Ring's shape, and the password is nowhere", async () => {
    const username = fresh("ada");
    const made = await request("POST", "/v1/users", { body: { username, password: "sesame-sesame" } });
    expect(made.status).toBe(201);
    const view = UserView.parse(made.body);
    expect(view).toMatchObject({ username, role: "viewer", status: "active", updated_at: null, login_at: null });
    expect(made.headers.get("location")).toBe(`/v1/users/${view.id}`);
    expect((await request("GET", `/users/${view.id}`)).body).toEqual(made.body);
    await vi.waitFor(async () =>
      expect((await request<Made[]>("GET", "/users")).body.map(({ id }) => id)).toContain(view.id),
    );
    await tryLogin(username, "sesame-sesamE");
    const dump = await runInDurableObject(env.USER.getByName(USER_DIRECTORY), (_, { storage }) =>
      storage.sql
        .exec<{ name: string }>(
          "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
        )
        .toArray()
        .map(({ name }) => JSON.stringify(storage.sql.exec(`SELECT * FROM ${name}`).toArray()))
        .join("\n"),
    );
    expect(dump).not.toMatch(/sesame/);
    expect(dump).toMatch(/argon2id/);
  });

  it("has a name of its own, whatever the case of its letters", async () => {
    const { id, username } = await makeUser();
    const other = await request("POST", "/users", { body: { username: username.toUpperCase(), password: PASSWORD } });
    expect([other.status, other.body.code]).toEqual([409, "name_taken"]);
    const second = await makeUser();
    const renamed = await request("PUT", `/users/${second.id}`, { body: { username } });
    expect([renamed.status, renamed.body.errors]).toEqual([409, [`There is a user "${username}" already.`]]);
    expect((await request("DELETE", `/users/${id}`)).status).toBe(204);
    expect((await request("GET", `/users/${id}`)).status).toBe(404);
    expect((await request("PUT", `/users/${second.id}`, { body: { username } })).status).toBe(200);
  });

  it("is made once for one Idempotency-Key, and nothing of the password can be guessed from what is kept for it", async () => {
    const headers = { "idempotency-key": crypto.randomUUID() };
    const body = { username: fresh("twice"), password: PASSWORD };
    const [one, two] = await Promise.all([
      request("POST", "/users", { body, headers }),
      request("POST", "/users", { body, headers }),
    ]);
    expect([one.status, two.text]).toEqual([201, one.text]);
    const other = await request("POST", "/users", { body: { ...body, password: "another password" }, headers });
    expect([other.status, other.body.code]).toEqual([422, "idempotency_key_reused"]);
  });

  it("tells every violation at once", async () => {
    const { status, body } = await request<{ violations: { property_path: string; code: string }[] }>(
      "POST",
      "/users",
      { body: { username: "-", password: "short", role: "root" } },
    );
    expect(status).toBe(422);
    expect(body.violations.map(({ property_path, code }) => [property_path, code])).toEqual([
      ["username", "user.username.format"],
      ["password", "user.password.length"],
      ["role", "user.role.unknown"],
    ]);
  });

  it("is changed against the revision that was read", async () => {
    const { id } = await makeUser();
    const stale = await request("PUT", `/users/${id}`, {
      body: { username: fresh("x") },
      headers: { "if-match": '"r7"' },
    });
    expect(stale.status).toBe(412);
    const nothing = await request("PUT", `/users/${id}`, { body: {} });
    expect([nothing.status, nothing.body.revision]).toEqual([200, 1]);
  });
});

describe("who may change users", () => {
  it("nobody makes a user who may more than they", async () => {
    const maker = (await makeToken(["users:write", ...ROLE_SCOPES.viewer])).token;
    const make = async (role: string, token = maker) =>
      (await request("POST", "/users", { token, body: { username: fresh("x"), password: PASSWORD, role } })).status;
    expect(await make("viewer")).toBe(201);
    expect(await make("operator")).toBe(403);
    expect(await make("admin")).toBe(403);
    const bound = (await makeToken(["admin"], { namespaces: ["shop"] })).token;
    expect(await make("viewer", bound)).toBe(403);
  });

  it("users change their own name and password, in a session, and nothing else", async () => {
    const user = await makeUser("operator");
    const other = await makeUser();
    const token = await login(user);
    const put = (id: string, body: object, by = token) => request("PUT", `/users/${id}`, { token: by, body });
    const renamed = fresh("renamed");
    expect((await put(user.id, { username: renamed, password: "another horse" })).body.username).toBe(renamed);
    expect(await whoami(token)).toBe(200);
    for (const [id, body] of [
      [user.id, { role: "admin" }],
      [other.id, { password: "taken over" }],
      [other.id, { username: fresh("x") }],
    ] as const)
      expect((await put(id, body)).body).toMatchObject({
        status: 403,
        required_scope: "admin",
        error: "token lacks required scope 'admin'",
      });
    expect((await request("DELETE", `/users/${other.id}`, { token })).status).toBe(403);
    // A token of the admin's for reading users could otherwise set a password, and log in with it.
    const admin = await makeUser("admin");
    const session = await login(admin);
    const small = (await makeToken(["users:read", "users:write"], {}, session)).token;
    expect((await put(admin.id, { password: "taken over" }, small)).status).toBe(403);
  });

  it("nobody deletes themselves", async () => {
    const admin = await makeUser("admin");
    await makeUser("admin");
    const mine = await request("DELETE", `/users/${admin.id}`, { token: await login(admin) });
    expect([mine.status, mine.body.code]).toEqual([403, "not_permitted"]);
    expect((await request("DELETE", `/users/${admin.id}`)).status).toBe(204);
  });
});

describe("a login", () => {
  it("answers a session that may what the role says", async () => {
    const user = await makeUser("operator");
    const answer = await tryLogin(user.username.toUpperCase());
    const { token, expires_at, user: shown } = LoggedIn.parse(answer.body);
    expect([answer.status, answer.headers.get("cache-control")]).toEqual([200, "no-store"]);
    expect(expires_at).toBe(new Date(NOW + 90 * DAY).toISOString());
    expect(shown).toMatchObject({ id: user.id, login_at: new Date(NOW).toISOString() });
    const who = await request("GET", "/whoami", { token });
    expect(who.body).toMatchObject({ scopes: ROLE_SCOPES.operator, user_id: user.id, session: true });
    expect((await request("GET", "/users/me", { token })).body).toMatchObject({ id: user.id });
    expect((await request("GET", "/users/me")).status).toBe(404);
    // In no list, and out of reach for the routes of tokens.
    const { token_id } = who.body as { token_id: string };
    const listed = await request<{ id: string }[]>("GET", "/tokens?limit=1000");
    expect(listed.body.map(({ id }) => id)).not.toContain(token_id);
    expect((await request("GET", `/tokens/${token_id}`)).status).toBe(404);
    expect((await request("DELETE", `/tokens/${token_id}`)).status).toBe(404);
    expect((await request("POST", `/tokens/${token_id}/rotate`)).status).toBe(404);
    await vi.waitFor(async () => {
      const trail = await request<object[]>("GET", `/audit?resource_id=${user.id}`);
      expect(trail.body[0]).toMatchObject({ action: "login", actor: user.id, resource_name: user.username });
    });
  });

  it("is refused alike for a wrong password and for nobody", async () => {
    const { username } = await makeUser();
    const headers = { "x-request-id": "same" };
    const wrong = await tryLogin(username, "wrong horse", headers);
    const nobody = await tryLogin(fresh("nobody"), PASSWORD, headers);
    expect([wrong.status, wrong.body.code, wrong.body.detail]).toEqual([
      401,
      "invalid_credentials",
      "invalid credentials",
    ]);
    expect(nobody.text).toBe(wrong.text);
  });

  it("that fails makes the next wait, ever longer, and one that succeeds starts anew", async () => {
    const { username } = await makeUser();
    const wrong = () => tryLogin(username, "wrong horse");
    for (let i = 0; i < 5; i++) expect((await wrong()).status).toBe(401);
    const refused = await tryLogin(username);
    expect([refused.status, refused.body.code, refused.headers.get("retry-after")]).toEqual([
      429,
      "too_many_attempts",
      "1",
    ]);
    vi.setSystemTime(NOW + 1_000);
    expect((await wrong()).status).toBe(401);
    vi.setSystemTime(NOW + 2_000);
    expect((await tryLogin(username)).status).toBe(429);
    vi.setSystemTime(NOW + 3_000);
    expect((await tryLogin(username)).status).toBe(200);
    for (let i = 0; i < 5; i++) expect((await wrong()).status).toBe(401);
    expect((await wrong()).status).toBe(429);
  });

  it("is slowed down for a name that nobody has just the same", async () => {
    const username = fresh("nobody");
    expect((await tryLogin(username)).status).toBe(401);
    await pretend(4, `name ${username}`);
    expect((await tryLogin(username)).status).toBe(429);
  });

  it("of many at a time counts each", async () => {
    const { username } = await makeUser();
    const all = await Promise.all(Array.from({ length: 8 }, () => tryLogin(username, "wrong horse")));
    expect(all.map(({ status }) => status).sort()).toEqual([401, 401, 401, 401, 401, 429, 429, 429]);
  });

  it("from where the user has logged in before is not slowed down by a stranger elsewhere", async () => {
    const { username } = await makeUser();
    const from = (address: string) => ({ "cf-connecting-ip": address });
    expect((await tryLogin(username, PASSWORD, from("192.0.2.1"))).status).toBe(200);
    await tryLogin(username, "wrong horse", from("198.51.100.1"));
    await pretend(4, `name ${username}`);
    expect((await tryLogin(username, PASSWORD, from("198.51.100.99"))).status).toBe(429);
    expect((await tryLogin(username, PASSWORD, from("192.0.2.1"))).status).toBe(200);
  });

  it("is slowed down for one address over all names, and for a whole IPv6 network", async () => {
    const network = `2001:db8:${Math.floor(Math.random() * 0xffff).toString(16)}:7`;
    const guess = () => tryLogin(fresh("nobody"), PASSWORD, { "cf-connecting-ip": `${network}::1` });
    for (let i = 0; i < 2; i++) expect((await guess()).status).toBe(401);
    await pretend(18, `address ${network}::/64`);
    const refused = await tryLogin(fresh("nobody"), PASSWORD, { "cf-connecting-ip": `${network}:1:2:3:4` });
    expect(refused.status).toBe(429);
  });
});

describe("a session", () => {
  it("ends with its logout", async () => {
    const user = await makeUser();
    const [token, other] = [await login(user), await login(user)];
    expect((await request("POST", "/logout", { token })).status).toBe(204);
    expect(await whoami(token)).toBe(401);
    expect((await request("POST", "/logout", { token })).status).toBe(401);
    expect(await whoami(other)).toBe(200);
    const root = await request("POST", "/logout");
    expect([root.status, root.body.code]).toEqual([403, "not_permitted"]);
    const made = await makeToken(["deployments:read"]);
    expect((await request("POST", "/logout", { token: made.token })).status).toBe(204);
    expect(await whoami(made.token)).toBe(401);
  });

  it("ends after thirty days without use, and after ninety in all", async () => {
    const user = await makeUser();
    const idle = await login(user);
    const used = await login(user);
    vi.setSystemTime(NOW + 30 * DAY - 1_000);
    expect(await whoami(used)).toBe(200);
    const token = env.TOKEN.getByName(`tok_${used.slice(5, 31)}`);
    await vi.waitFor(async () => {
      const sql = "SELECT last_used_at IS NOT NULL AS used FROM token";
      expect(await runInDurableObject(token, (_, { storage }) => storage.sql.exec(sql).one().used)).toBe(1);
    });
    vi.setSystemTime(NOW + 30 * DAY);
    expect(await whoami(idle)).toBe(401);
    vi.setSystemTime(NOW + 60 * DAY - 2_000);
    expect(await whoami(used)).toBe(200);
    vi.setSystemTime(NOW + 90 * DAY);
    expect(await whoami(used)).toBe(401);
  });

  it("ends with the user's role, and so does what was made with it; a role that stays ends nothing", async () => {
    const user = await makeUser("admin");
    const session = await login(user);
    const made = (await makeToken(["deployments:read"], {}, session)).token;
    const grandchild = (await makeToken(["tokens:write", "deployments:read"], {}, session)).token;
    const foreign = (await makeToken(["deployments:read"])).token;
    const all = [session, made, grandchild, (await makeToken(["deployments:read"], {}, grandchild)).token];
    expect(await Promise.all(all.map(whoami))).toEqual([200, 200, 200, 200]);
    await request("PUT", `/users/${user.id}`, { body: { role: "admin" } });
    expect(await Promise.all(all.map(whoami))).toEqual([200, 200, 200, 200]);
    expect((await request("PUT", `/users/${user.id}`, { body: { role: "viewer" } })).status).toBe(200);
    expect(await Promise.all(all.map(whoami))).toEqual([401, 401, 401, 401]);
    expect(await whoami(foreign)).toBe(200);
    const again = await request("GET", "/whoami", { token: await login(user) });
    expect(again.body.scopes).toEqual(ROLE_SCOPES.viewer);
  });

  it("ends with another password, but for the one that sets it", async () => {
    const user = await makeUser();
    const [mine, other] = [await login(user), await login(user)];
    await request("PUT", `/users/${user.id}`, { token: mine, body: { password: "another horse" } });
    expect([await whoami(mine), await whoami(other)]).toEqual([200, 401]);
    expect((await tryLogin(user.username)).status).toBe(401);
    await request("PUT", `/users/${user.id}`, { body: { password: PASSWORD } });
    expect(await whoami(mine)).toBe(401);
  });

  it("ends with the user", async () => {
    const user = await makeUser();
    const token = await login(user);
    await request("DELETE", `/users/${user.id}`);
    expect(await whoami(token)).toBe(401);
    expect((await tryLogin(user.username)).status).toBe(401);
  });
});

describe("roles", () => {
  it("are made of scopes that exist; a viewer changes nothing, and only an admin users, hosts and tokens", () => {
    for (const scopes of Object.values(ROLE_SCOPES))
      for (const scope of scopes) expect(SCOPES as readonly string[]).toContain(scope);
    expect(ROLE_SCOPES.viewer.filter((scope) => !scope.endsWith(":read"))).toEqual([]);
    expect(ROLE_SCOPES.operator.filter((scope) => /^(users|hosts|tokens|audit):write|^admin$/.test(scope))).toEqual([]);
  });
});
