import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newId } from "../../contract/id.ts";
import type { Mutation } from "../../contract/request.ts";
import type { Principal } from "../../contract/scope.ts";
import { CLUSTER_SHARD } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import type { TokenObject } from "../../objects/token/object.ts";
import type { TokenDraft } from "../../objects/token/record.ts";

const NOW = Date.UTC(2100, 0, 1);
const DAY = 86_400_000;
const ROOT: Principal = { token_id: "root", name: "root", scopes: ["admin"], namespaces: [] };
const BY = { actor: "users", request_id: "r" };

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: NOW }));
afterEach(() => void vi.useRealTimers());

const mutation = (key: string | null = null): Mutation => ({
  actor: "root",
  request_id: "r",
  if_match: null,
  idempotency: key === null ? null : { key, fingerprint: "f" },
});
const draft = (rest: Partial<TokenDraft> = {}): TokenDraft => ({
  name: "t",
  hash: "h1",
  sealed: null,
  scopes: ["deployments:read"],
  namespaces: [],
  labels: {},
  expires_at: null,
  uses_left: null,
  kind: "access",
  user_id: null,
  idle_ms: null,
  ...rest,
});

function fresh(): {
  id: string;
  token: () => ReturnType<typeof remote<TokenObject>>;
  stub: DurableObjectStub<TokenObject>;
} {
  const id = newId("token", Date.now());
  return { id, token: () => remote(env.TOKEN, id), stub: env.TOKEN.getByName(id) };
}

const listed = async (id: string): Promise<{ revoked_at: string | null } | null> => {
  const slice = await env.INDEX.getByName(CLUSTER_SHARD).list({
    kind: "token",
    namespaces: [],
    names: [],
    statuses: [],
    types: [],
    labels: [],
    before: null,
    limit: 1000,
  });
  const at = slice.keys.indexOf(id);
  return at < 0 ? null : JSON.parse(slice.bodies[at] as string);
};

const tables = (stub: DurableObjectStub<TokenObject>) =>
  runInDurableObject(
    stub,
    (_, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'token'").toArray().length,
  );

describe("a token", () => {
  it("survives eviction between any two steps", async () => {
    const { token, stub } = fresh();
    expect(await token().create(draft(), mutation("k"))).toMatchObject({ ok: true });
    await evictDurableObject(stub);
    expect(await token().create(draft({ hash: "h2" }), mutation("k"))).toMatchObject({
      ok: true,
      value: { revision: 1 },
    });
    await evictDurableObject(stub);
    expect(await token().verify("h1")).not.toBeNull();
    expect(await token().verify("h2")).toBeNull();
    await token().touch();
    await evictDurableObject(stub);
    expect(await token().rotate({ hash: "h3", sealed: null }, mutation(), ROOT)).toMatchObject({ ok: true });
    await evictDurableObject(stub);
    expect([await token().verify("h1"), (await token().verify("h3"))?.principal.token_id]).toEqual([null, stub.name]);
    await token().revoke(mutation(), ROOT);
    await evictDurableObject(stub);
    expect(await token().verify("h3")).toBeNull();
  });

  it("that was revoked is revoked after a crash, and the lists hear of it though the letter was cut short", async () => {
    const { id, token, stub } = fresh();
    await token().create(draft(), mutation());
    await vi.waitFor(async () => expect(await listed(id)).toMatchObject({ revoked_at: null }));
    // The answer is out, the letter not yet.
    const cut = runInDurableObject(stub, (object: TokenObject) => {
      (object as unknown as { env: unknown }).env = {
        INDEX: { getByName: () => ({ project: () => new Promise(() => undefined) }) },
      };
      return object.revoke(mutation(), ROOT);
    }).catch(() => null);
    await vi.waitFor(async () => expect(await token().verify("h1")).toBeNull());
    await abortAllDurableObjects().catch(() => null);
    await cut;
    expect(await token().verify("h1")).toBeNull();
    expect(await listed(id)).toMatchObject({ revoked_at: null });
    // A broken stub stays broken.
    await runDurableObjectAlarm(env.TOKEN.getByName(id));
    await vi.waitFor(async () => expect((await listed(id))?.revoked_at).not.toBeNull());
  });

  it("takes one use for one key, also when the answer was lost", async () => {
    const { token, stub } = fresh();
    await token().create(draft({ scopes: ["hosts:join"], uses_left: 1 }), mutation());
    const first = await token().join("key-a", "host_a", "r");
    await evictDurableObject(stub);
    expect(await token().join("key-a", "host_b", "r")).toEqual(first);
    expect(await token().join("key-b", "host_c", "r")).toMatchObject({ ok: false });
  });

  it("is forgotten a month after its end, and leaves no storage and no alarm behind", async () => {
    for (const end of ["revoked", "expired"]) {
      vi.setSystemTime(NOW);
      const { id, token, stub } = fresh();
      await token().create(draft({ expires_at: end === "expired" ? NOW + DAY : null }), mutation());
      if (end === "revoked") await token().revoke(mutation(), ROOT);
      await vi.waitFor(async () => expect(await listed(id)).not.toBeNull());
      const over = NOW + 30 * DAY + (end === "expired" ? DAY : 0);
      vi.setSystemTime(over - 1_000);
      await runDurableObjectAlarm(stub);
      expect(await tables(stub)).toBe(1);
      vi.setSystemTime(over);
      await runDurableObjectAlarm(stub);
      expect([end, await tables(stub), await listed(id)]).toEqual([end, 0, null]);
      expect(await runInDurableObject(stub, (_, { storage }) => storage.getAlarm())).toBeNull();
      expect(await token().verify("h1")).toBeNull();
    }
  });

  it("without an end rests without an alarm", async () => {
    const { id, token, stub } = fresh();
    await token().create(draft(), mutation());
    await vi.waitFor(async () => expect(await listed(id)).not.toBeNull());
    await vi.waitFor(async () =>
      expect(
        await runInDurableObject(stub, (_, { storage }) => storage.sql.exec("SELECT 1 FROM timer").toArray()),
      ).toEqual([]),
    );
  });
});

describe("a session", () => {
  it("that its user's role ended before it was made is never made", async () => {
    const { token, stub } = fresh();
    await token().end(BY);
    await evictDurableObject(stub);
    const late = await token().create(draft({ kind: "session", user_id: "usr_x" }), mutation());
    expect(late).toMatchObject({ ok: false, refusal: { code: "unauthenticated" } });
    expect(await token().verify("h1")).toBeNull();
    vi.setSystemTime(NOW + DAY);
    await runDurableObjectAlarm(stub);
    expect(await tables(stub)).toBe(0);
  });

  it("may be ended twice, and is in no list", async () => {
    const { id, token } = fresh();
    const session = draft({ kind: "session", user_id: "usr_x", idle_ms: DAY, expires_at: NOW + 90 * DAY });
    await token().create(session, mutation());
    expect((await token().verify("h1"))?.principal).toMatchObject({ user_id: "usr_x", session: true });
    await token().touch();
    await token().logout(BY);
    await token().end(BY);
    expect(await token().verify("h1")).toBeNull();
    expect(await listed(id)).toBeNull();
    expect(await token().read(ROOT)).toMatchObject({ ok: false, refusal: { code: "not_found" } });
  });
});
