import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { argon2id } from "@noble/hashes/argon2.js";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { toBase64Url } from "../../contract/envelope.ts";
import type { Reply } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { Principal } from "../../contract/scope.ts";
import type { Role, UserView } from "../../contract/user.ts";
import { remote } from "../../objects/remote.ts";
import type { UserDirectoryObject } from "../../objects/user/object.ts";
import { COST, costFromNowOn, HashingQueue } from "../../objects/user/password.ts";
import { CHEAP } from "../cheap-passwords.ts";

const NOW = Date.UTC(2100, 0, 1);
const ROOT: Principal = { token_id: "root", name: "root", scopes: ["admin"], namespaces: [] };
const PASSWORD = "correct horse";

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: NOW }));
afterEach(() => {
  vi.useRealTimers();
  costFromNowOn(CHEAP);
});

const mutation = (key: string | null = null): Mutation => ({
  actor: "root",
  request_id: "r",
  if_match: null,
  idempotency: key === null ? null : { key, fingerprint: key },
});

/** A directory of its own, and nothing of it asked of a stub that a crash has broken. */
function directory() {
  const name = crypto.randomUUID();
  const stub = () => env.USER.getByName(name);
  const users = () => remote<UserDirectoryObject>(env.USER, name);
  const sql = (text: string, ...bindings: (string | number)[]) =>
    runInDurableObject(stub(), (_, { storage }) => storage.sql.exec(text, ...bindings).toArray());
  const make = async (username: string, role: Role): Promise<UserView> =>
    viewOf(await users().create({ username, password: PASSWORD, role }, mutation(), ROOT));
  const login = (username: string, password = PASSWORD) => users().login({ username, password }, null, "r");
  return { stub, users, sql, make, login };
}

function viewOf(reply: Reply<Answer>): UserView {
  if (!reply.ok) throw new Error(reply.refusal.detail);
  return JSON.parse(reply.value.body) as UserView;
}

describe("the last admin", () => {
  it("is neither demoted nor deleted, and of two who are demoted at once one stays", async () => {
    const { users, make } = directory();
    const [one, two] = [await make("one", "admin"), await make("two", "admin")];
    const demote = (id: string) => users().update(id, { role: "viewer" }, mutation(), ROOT);
    const both = await Promise.all([demote(one.id), demote(two.id)]);
    expect(both.map(({ ok }) => ok).sort()).toEqual([false, true]);
    const last = both[0]?.ok ? two : one;
    expect(await demote(last.id)).toMatchObject({
      refusal: { code: "last_admin", detail: "Cannot demote the last admin" },
    });
    expect(await users().delete(last.id, mutation(), ROOT)).toMatchObject({ refusal: { code: "last_admin" } });
    const password = await users().update(last.id, { password: "another horse" }, mutation(), ROOT);
    expect(password).toMatchObject({ ok: true });
  });
});

describe("a username", () => {
  it("is one user's, however many ask for it at once", async () => {
    const { users } = directory();
    const all = await Promise.all(
      ["ada", "Ada", "ADA"].map((username) =>
        users().create({ username, password: PASSWORD, role: "viewer" }, mutation(), ROOT),
      ),
    );
    expect(all.filter(({ ok }) => ok)).toHaveLength(1);
    expect(all.filter((reply) => !reply.ok && reply.refusal.code === "name_taken")).toHaveLength(2);
  });
});

describe("a new role", () => {
  it("ends the user's sessions also when everything stops right after it was decided", async () => {
    const { stub, sql, make, login } = directory();
    await make("root", "admin");
    const { id } = await make("ada", "admin");
    const opened = await login("ada");
    if (!opened.ok) throw new Error("no session");
    const session = () => remote(env.TOKEN, opened.value.token_id);
    const draft = {
      name: "session",
      hash: "h",
      sealed: null,
      scopes: ["admin" as const],
      namespaces: [],
      labels: {},
      expires_at: opened.value.expires_at,
      uses_left: null,
      kind: "session" as const,
      user_id: id,
      idle_ms: null,
    };
    await session().create(draft, mutation());
    // The token cannot be reached while the role changes.
    const cut = runInDurableObject(stub(), (object: UserDirectoryObject) => {
      const real = (object as unknown as { env: Env }).env;
      const end = () => new Promise(() => undefined);
      (object as unknown as { env: unknown }).env = {
        ...real,
        INDEX: real.INDEX,
        TOKEN: { getByName: () => ({ end }) },
      };
      return object.update(id, { role: "viewer" }, mutation(), ROOT);
    }).catch(() => null);
    await vi.waitFor(async () =>
      expect(await sql("SELECT role FROM user WHERE id = ?", id)).toEqual([{ role: "viewer" }]),
    );
    await abortAllDurableObjects();
    await cut;
    expect(await session().verify("h")).not.toBeNull();
    await runDurableObjectAlarm(stub());
    await vi.waitFor(async () => expect(await session().verify("h")).toBeNull());
    expect(await sql("SELECT * FROM credential WHERE user_id = ?", id)).toEqual([]);
  });

  it("leaves no token to one that is being made at that moment", async () => {
    const { users, make, login } = directory();
    await make("root", "admin");
    const { id } = await make("ada", "admin");
    await login("ada");
    const token = `tok_${crypto.randomUUID()}`;
    // The session asks for it before the role changes; the token is made after.
    expect(await users().own(id, token, { scopes: ["admin"], expires_at: null })).toMatchObject({ ok: true });
    await users().update(id, { role: "viewer" }, mutation(), ROOT);
    const late = { scopes: ["admin" as const], namespaces: [], labels: {}, expires_at: null, uses_left: null };
    const made = await remote(env.TOKEN, token).create(
      { ...late, name: "late", hash: "h", sealed: null, kind: "access", user_id: id, idle_ms: null },
      mutation(),
    );
    expect(made).toMatchObject({ ok: false });
    // And from now on the session, where it is still believed, gets none.
    const refused = await users().own(id, "tok_other", { scopes: ["deployments:write"], expires_at: null });
    expect(refused).toMatchObject({ refusal: { code: "unauthenticated" } });
    expect(await users().own(id, "tok_other", { scopes: ["deployments:read"], expires_at: null })).toMatchObject({
      ok: true,
    });
  });
});

describe("failed logins", () => {
  it("are remembered over a restart", async () => {
    const { stub, login, sql, make } = directory();
    await make("ada", "admin");
    expect(await login("ada", "wrong horse")).toMatchObject({ refusal: { code: "invalid_credentials" } });
    await sql("UPDATE attempt SET failures = 7");
    await evictDurableObject(stub());
    const refused = await login("ada");
    expect(refused).toMatchObject({ refusal: { code: "too_many_attempts", more: { retry_after: 4 } } });
    vi.setSystemTime(NOW + 4_000);
    expect(await login("ada")).toMatchObject({ ok: true });
    expect(await sql("SELECT * FROM attempt")).toEqual([]);
  });

  it("count also when the check was cut short", async () => {
    costFromNowOn(COST);
    const { stub, login, sql, make } = directory();
    await make("ada", "admin");
    // Hashing lets others run from time to time, by the clock.
    vi.useRealTimers();
    const cut = login("ada").catch(() => null);
    const begun = async () => expect(await sql("SELECT failures FROM attempt")).toEqual([{ failures: 1 }]);
    await vi.waitFor(begun, { interval: 2 });
    await abortAllDurableObjects();
    await cut;
    expect(
      await runInDurableObject(stub(), (_, { storage }) => storage.sql.exec("SELECT * FROM attempt").toArray()),
    ).toHaveLength(1);
  });

  it("are forgotten, so that the table does not grow for ever", async () => {
    const { login, sql, make } = directory();
    await make("ada", "admin");
    await login("nobody", "wrong horse");
    vi.setSystemTime(NOW + 3_600_000);
    await login("ada");
    expect(await sql("SELECT * FROM attempt")).toEqual([]);
  });
});

describe("a password", () => {
  it("gets today's parameters at the next login", async () => {
    costFromNowOn(COST);
    const { login, sql, make } = directory();
    const { id } = await make("ada", "admin");
    const salt = new Uint8Array(16).fill(7);
    const old = toBase64Url(argon2id(PASSWORD, salt, { m: 64, t: 1, p: 1, dkLen: 32 }));
    await sql(
      "UPDATE user SET password = ? WHERE id = ?",
      `$argon2id$v=19$m=64,t=1,p=1$${toBase64Url(salt)}$${old}`,
      id,
    );
    const stored = async () => (await sql("SELECT password FROM user WHERE id = ?", id))[0]?.password;
    await login("ada", "wrong horse");
    expect(await stored()).toMatch(/m=64,t=1/);
    expect(await login("ada")).toMatchObject({ ok: true });
    expect(await stored()).toMatch(/^\$argon2id\$v=19\$m=12288,t=3,p=1\$/);
    expect(await login("ada")).toMatchObject({ ok: true });
  });

  it("that is changed while it is checked is not the user's any more", async () => {
    const { users, login, make } = directory();
    const { id } = await make("ada", "admin");
    const [opened] = await Promise.all([
      login("ada"),
      users().update(id, { password: "another horse" }, mutation(), ROOT),
    ]);
    // Whichever came first: a session of the old password has not outlived it.
    if (opened.ok) expect(await remote(env.TOKEN, opened.value.token_id).verify("h")).toBeNull();
    else expect(opened.refusal.code).toBe("invalid_credentials");
    expect(await login("ada", "another horse")).toMatchObject({ ok: true });
  });

  it("is hashed one at a time, and one failure stops no other", async () => {
    const queue = new HashingQueue(3);
    let inside = 0;
    let most = 0;
    const work = (fails: boolean) =>
      queue
        .run(async () => {
          most = Math.max(most, ++inside);
          await new Promise((resolve) => setTimeout(resolve, 5));
          inside--;
          if (fails) throw new Error("no");
          return "yes";
        })
        .catch(() => "no");
    const all = [work(false), work(true), work(false)];
    expect(queue.isFull).toBe(true);
    expect(await Promise.all(all)).toEqual(["yes", "no", "yes"]);
    expect([most, queue.isFull]).toEqual([1, false]);
  });
});

it("rests without an alarm when everything is said", async () => {
  const { stub, users, make, login } = directory();
  await make("root", "admin");
  const { id } = await make("ada", "viewer");
  await login("ada");
  await users().delete(id, mutation(), ROOT);
  await vi.waitFor(async () => {
    const left = await runInDurableObject(stub(), (_, { storage }) =>
      storage.sql
        .exec(
          "SELECT key FROM outbox UNION ALL SELECT name FROM timer UNION ALL SELECT id FROM user WHERE username IS NULL",
        )
        .toArray(),
    );
    expect(left).toEqual([]);
  });
});
