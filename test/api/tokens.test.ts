import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { generateKeyPair, importPrivateKey, toBase64Url } from "../../contract/envelope.ts";
import { enrolProofText } from "../../contract/frame.ts";
import { ulid } from "../../contract/id.ts";
import { TokenCreated, TokenView } from "../../contract/token.ts";
import { freeze, fresh, makeToken, NOW, request, type TokenAnswer } from "./client.ts";

beforeEach(freeze);
afterEach(() => void vi.useRealTimers());

const whoami = async (token: string) => (await request("GET", "/whoami", { token })).status;

describe("a token", () => {
  it("is answered once, with what it may do", async () => {
    const name = fresh("ci");
    const made = await request("POST", "/v1/tokens", {
      body: { name, scopes: ["deployments:read"], namespaces: ["shop"], expire_at: "2100-02-01T00:00:00+02:00" },
    });
    expect(made.status).toBe(201);
    const { token, message: _, ...view } = TokenCreated.parse(made.body);
    expect(token).toMatch(/^lamp_[0-9a-z]{26}_[\w-]{43}$/);
    expect(view).toMatchObject({
      name,
      scopes: ["deployments:read"],
      namespaces: ["shop"],
      expire_at: "2100-01-31T22:00:00.000Z",
      last_used_at: null,
      revision: 1,
    });
    expect(made.headers.get("location")).toBe(`/v1/tokens/${view.id}`);
    const read = await request("GET", `/tokens/${view.id}`);
    expect(read.text).not.toContain(token.slice(-43));
    expect(TokenView.parse(read.body)).toEqual(view);
    const who = await request("GET", "/whoami", { token });
    expect(who.body).toEqual({ token_id: view.id, name, scopes: ["deployments:read"], namespaces: ["shop"] });
  });

  it("leaves nothing of its secret in the storage, with an Idempotency-Key neither", async () => {
    const key = crypto.randomUUID();
    const { body } = await request<TokenAnswer>("POST", "/tokens", {
      body: { name: "kept", scopes: ["admin"] },
      headers: { "idempotency-key": key },
    });
    const secret = body.token.slice(-43);
    for (const name of [body.id, "root"]) {
      const dump = await runInDurableObject(env.TOKEN.getByName(name), (_, state) =>
        state.storage.sql
          .exec<{ name: string }>(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
          )
          .toArray()
          .map(({ name: table }) => JSON.stringify(state.storage.sql.exec(`SELECT * FROM ${table}`).toArray()))
          .join("\n"),
      );
      expect(dump).not.toContain(secret);
      expect(dump).not.toContain(secret.slice(0, 20));
    }
  });

  it("is made once for one Idempotency-Key, and answered alike each time", async () => {
    const headers = { "idempotency-key": crypto.randomUUID() };
    const body = { name: "twice", scopes: ["deployments:read"] };
    const all = await Promise.all(
      Array.from({ length: 5 }, () => request<TokenAnswer>("POST", "/tokens", { body, headers })),
    );
    expect(new Set(all.map(({ text }) => text)).size).toBe(1);
    expect(all.every(({ status }) => status === 201)).toBe(true);
    expect(await whoami((all[0] as { body: TokenAnswer }).body.token)).toBe(200);
    const other = await request("POST", "/tokens", { body: { ...body, name: "other" }, headers });
    expect([other.status, other.body.code]).toEqual([422, "idempotency_key_reused"]);
    vi.setSystemTime(NOW + 86_400_001);
    const later = await request<TokenAnswer>("POST", "/tokens", { body, headers });
    expect(later.body.id).not.toBe((all[0] as { body: TokenAnswer }).body.id);
  });

  it("whose maker has another secret by now cannot be read again", async () => {
    const maker = await makeToken(["tokens:write", "deployments:read"]);
    const headers = { "idempotency-key": crypto.randomUUID() };
    const body = { name: "child", scopes: ["deployments:read"] };
    await request("POST", "/tokens", { token: maker.token, body, headers });
    const rotated = await request<TokenAnswer>("POST", `/tokens/${maker.id}/rotate`);
    const again = await request("POST", "/tokens", { token: rotated.body.token, body, headers });
    expect([again.status, again.body.code]).toEqual([422, "idempotency_key_reused"]);
  });

  it("drops the encrypted secret after a day", async () => {
    const headers = { "idempotency-key": crypto.randomUUID() };
    const { body } = await request<TokenAnswer>("POST", "/tokens", {
      body: { name: "day", scopes: ["admin"] },
      headers,
    });
    const stub = env.TOKEN.getByName(body.id);
    vi.setSystemTime(NOW + 86_400_001);
    await runInDurableObject(stub, async (token, state) => {
      expect(state.storage.sql.exec("SELECT * FROM request").toArray()).toHaveLength(1);
      await token.alarm();
      expect(state.storage.sql.exec("SELECT * FROM request").toArray()).toHaveLength(0);
      expect(await state.storage.getAlarm()).toBeNull();
    });
  });

  it("is refused at once when it is revoked, and stays listed", async () => {
    const { id, token } = await makeToken(["deployments:read"]);
    expect(await whoami(token)).toBe(200);
    expect((await request("DELETE", `/tokens/${id}`)).status).toBe(204);
    expect(await whoami(token)).toBe(401);
    expect((await request("DELETE", `/tokens/${id}`)).status).toBe(204);
    const list = await request<{ id: string; revoked_at: string | null }[]>("GET", "/tokens?limit=1000");
    expect(list.body.find((one) => one.id === id)?.revoked_at).toBe("2100-01-01T00:00:00.000Z");
    const rotate = await request("POST", `/tokens/${id}/rotate`);
    expect([rotate.status, rotate.body.code, rotate.body.resource_status]).toEqual([
      409,
      "action_not_allowed",
      "revoked",
    ]);
  });

  it("has only its new secret when it was rotated", async () => {
    const { id, token } = await makeToken(["deployments:read"]);
    expect(await whoami(token)).toBe(200);
    const headers = { "idempotency-key": crypto.randomUUID(), "if-match": '"r1"' };
    const rotated = await request<TokenAnswer>("POST", `/tokens/${id}/rotate`, { headers });
    expect(rotated.status).toBe(201);
    expect(await whoami(token)).toBe(401);
    expect(await whoami(rotated.body.token)).toBe(200);
    const again = await request("POST", `/tokens/${id}/rotate`, { headers });
    expect(again.text).toBe(rotated.text);
    expect((await request("POST", `/tokens/${id}/rotate`, { headers: { "if-match": '"r1"' } })).status).toBe(412);
  });

  it("ends at its expiry to the millisecond, also where it is still remembered", async () => {
    const { token } = await makeToken(["deployments:read"], { expire_at: "2100-01-01T00:00:02Z" });
    vi.setSystemTime(NOW + 1_999);
    expect(await whoami(token)).toBe(200);
    vi.setSystemTime(NOW + 2_000);
    expect(await whoami(token)).toBe(401);
  });

  it("is believed for five seconds elsewhere", async () => {
    const { id, token } = await makeToken(["deployments:read"]);
    expect(await whoami(token)).toBe(200);
    // As if another isolate had revoked it.
    const mutation = { actor: "root", request_id: "r", if_match: null, idempotency: null };
    await env.TOKEN.getByName(id).revoke(mutation, {
      token_id: "root",
      name: "root",
      scopes: ["admin"],
      namespaces: [],
    });
    vi.setSystemTime(NOW + 4_999);
    expect(await whoami(token)).toBe(200);
    vi.setSystemTime(NOW + 5_000);
    expect(await whoami(token)).toBe(401);
  });

  it("notes its last use, to the minute and at most once a minute", async () => {
    const { id, token } = await makeToken(["deployments:read"]);
    const used = async () =>
      (await request<{ last_used_at: string | null; revision: number }>("GET", `/tokens/${id}`)).body;
    vi.setSystemTime(NOW + 90_000);
    await whoami(token);
    await vi.waitFor(async () =>
      expect(await used()).toMatchObject({ last_used_at: "2100-01-01T00:01:00.000Z", revision: 1 }),
    );
    vi.setSystemTime(NOW + 140_000);
    await whoami(token);
    expect((await used()).last_used_at).toBe("2100-01-01T00:01:00.000Z");
    vi.setSystemTime(NOW + 155_000);
    await whoami(token);
    await vi.waitFor(async () => expect((await used()).last_used_at).toBe("2100-01-01T00:02:00.000Z"));
  });

  it("tells every violation at once, by the codes of the reference", async () => {
    const { status, body } = await request<{ violations: { property_path: string; code: string; message: string }[] }>(
      "POST",
      "/tokens",
      {
        body: { name: "-", scopes: ["deployments:raed"], expire_at: "soon", namespace: ["x"] },
      },
    );
    expect(status).toBe(422);
    expect(body.violations.map(({ property_path, code }) => [property_path, code])).toEqual([
      ["name", "token.name.format"],
      ["scopes[0]", "token.scopes.unknown"],
      ["expire_at", "token.expire_at.format"],
      ["namespace", "unknown_field"],
    ]);
    expect(body.violations[3]?.message).toBe('unknown field; did you mean "namespaces"?');
    const empty = await request<{ violations: unknown[] }>("POST", "/tokens", {
      body: { name: "x", scopes: [], expire_at: "2099-12-31T23:59:59Z" },
    });
    expect(empty.body.violations).toMatchObject([{ property_path: "scopes", code: "token.scopes.empty" }]);
    const past = await request<{ violations: unknown[] }>("POST", "/tokens", {
      body: { name: "x", scopes: ["hosts:join"], expire_at: "2099-12-31T23:59:59Z" },
    });
    expect(past.body.violations).toMatchObject([{ code: "token.scopes.join" }, { code: "token.expire_at.past" }]);
  });
});

describe("nobody hands out more than they have", () => {
  it("neither scopes nor namespaces", async () => {
    const maker = await makeToken(["tokens:write", "tokens:read", "deployments:read"], { namespaces: ["shop", "lab"] });
    const make = async (scopes: string[], namespaces?: string[]) => {
      const made = await request("POST", "/tokens", {
        token: maker.token,
        body: { name: "x", scopes, ...(namespaces ? { namespaces } : {}) },
      });
      return [made.status, made.body.code ?? "made"];
    };
    expect(await make(["deployments:read"], ["shop"])).toEqual([201, "made"]);
    expect(await make(["deployments:write"], ["shop"])).toEqual([403, "insufficient_scope"]);
    expect(await make(["admin"], ["shop"])).toEqual([403, "insufficient_scope"]);
    expect(await make(["deployments:read"], ["shop", "prod"])).toEqual([403, "namespace_not_permitted"]);
    expect(await make(["deployments:read"])).toEqual([403, "namespace_not_permitted"]);
  });

  it("and takes over nobody who has more", async () => {
    const great = await makeToken(["admin"]);
    const small = await makeToken(["tokens:write", "tokens:read"]);
    const bound = await makeToken(["admin"], { namespaces: ["shop"] });
    const rotate = (token: string) => request("POST", `/tokens/${great.id}/rotate`, { token });
    expect((await rotate(small.token)).body).toMatchObject({
      status: 403,
      code: "insufficient_scope",
      required_scope: "admin",
    });
    expect((await request("DELETE", `/tokens/${great.id}`, { token: small.token })).status).toBe(403);
    expect((await request("GET", `/tokens/${great.id}`, { token: small.token })).status).toBe(200);
    expect((await rotate(bound.token)).status).toBe(404);
    expect((await request("GET", `/tokens/${great.id}`, { token: bound.token })).status).toBe(404);
    expect(await whoami(great.token)).toBe(200);
  });

  it("and sees only tokens for its own namespaces", async () => {
    const space = fresh("ns");
    const bound = await makeToken(["tokens:read"], { namespaces: [space, "other"] });
    const mine: string[] = [];
    for (let i = 0; i < 5; i++) {
      vi.setSystemTime(NOW + 1 + i);
      mine.unshift((await makeToken(["deployments:read"], { namespaces: [space] })).id);
      await makeToken(["deployments:read"]);
    }
    const first = await request<{ id: string }[]>("GET", "/tokens?limit=3", { token: bound.token });
    expect(first.body.map(({ id }) => id)).toEqual(mine.slice(0, 3));
    const next = /<([^>]+)>; rel="next"/.exec(first.headers.get("link") ?? "")?.[1] as string;
    expect(next).toContain("limit=3");
    const second = await request<{ id: string }[]>("GET", next, { token: bound.token });
    expect(second.body.map(({ id }) => id).slice(0, 2)).toEqual(mine.slice(3));
    expect(second.body.map(({ id }) => id)).toContain(bound.id);
  });
});

describe("a join token", () => {
  const keys = async (name: string) => {
    const pair = await generateKeyPair();
    const at = Date.now();
    const key = await importPrivateKey(pair.privateKey);
    const signature = await crypto.subtle.sign("Ed25519", key, new TextEncoder().encode(enrolProofText(name, at)));
    return {
      name,
      public_key: pair.publicKey,
      transport: "tunnel",
      labels: {},
      at,
      proof: toBase64Url(new Uint8Array(signature)),
    };
  };
  const joinToken = async (body: Record<string, unknown>) =>
    (await request<TokenAnswer>("POST", "/join-tokens", { body })).body;

  it("lives an hour and joins one host when nothing else is said", async () => {
    const made = await joinToken({});
    expect(made).toMatchObject({ scopes: ["hosts:join"], uses_left: 1, expire_at: "2100-01-01T01:00:00.000Z" });
    const bad = await request<{ violations: unknown[] }>("POST", "/join-tokens", {
      body: { expires_in: "8d", uses: 0 },
    });
    expect(bad.body.violations).toMatchObject([
      { property_path: "uses" },
      { property_path: "expires_in", code: "token.expires_in.invalid" },
    ]);
  });

  it("with one use joins one of twenty hosts that come at once", async () => {
    const { token, id } = await joinToken({ uses: 1 });
    const hosts = await Promise.all(Array.from({ length: 20 }, (_, i) => keys(`lamp-${i}`)));
    const answers = await Promise.all(
      hosts.map((body) => request<{ host_id: string }>("POST", "/hosts", { token, body })),
    );
    const joined = answers.flatMap((answer, i) => (answer.status === 201 ? [i] : []));
    expect(joined).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(19);
    // The same host asking again is not a second use; neither is it when it asks at the same time.
    const again = await Promise.all(
      [0, 1, 2].map(() => request("POST", "/hosts", { token, body: hosts[joined[0] as number] })),
    );
    expect(again.map(({ text }) => text)).toEqual(Array(3).fill(answers[joined[0] as number]?.text));
    expect((await request("GET", `/tokens/${id}`)).body).toMatchObject({ uses_left: 0, revision: 2 });
  });

  it("gives its labels to the hosts, and does nothing else", async () => {
    const { token } = await joinToken({ uses: 2, labels: { zone: "a" } });
    const body = { ...(await keys(fresh("lamp"))), labels: { zone: "b", disk: "ssd" } };
    const { host_id } = (await request<{ host_id: string }>("POST", "/hosts", { token, body })).body;
    expect((await request("GET", `/hosts/${host_id}`)).body).toMatchObject({
      labels: { zone: "a", disk: "ssd" },
      status: "joining",
    });
    for (const path of ["/hosts", "/deployments", "/tokens", "/audit"])
      expect((await request("GET", path, { token })).status).toBe(403);
    expect((await request("POST", "/hosts", { body })).status).toBe(403);
  });
});

describe("who is not known", () => {
  it("leaves no storage behind", async () => {
    const id = ulid(NOW);
    expect(await whoami(`lamp_${id}_${"A".repeat(43)}`)).toBe(401);
    await runInDurableObject(env.TOKEN.getByName(`tok_${id}`), (_, state) => {
      expect(
        state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'").toArray(),
      ).toEqual([]);
    });
  });
});

describe("the trail of a token", () => {
  it("tells who made, rotated and revoked it", async () => {
    const maker = await makeToken(["tokens:write", "deployments:read"]);
    const { id } = await makeToken(["deployments:read"], {}, maker.token);
    vi.setSystemTime(NOW + 1000);
    await request("POST", `/tokens/${id}/rotate`, { headers: { "x-request-id": "rotate-1" } });
    vi.setSystemTime(NOW + 2000);
    await request("DELETE", `/tokens/${id}`);
    await vi.waitFor(async () => {
      const { body } = await request<Record<string, unknown>[]>("GET", `/audit?resource_id=${id}`);
      expect(body).toMatchObject([
        { action: "revoke", actor: "root", before_revision: 2, after_revision: 3, namespace: null },
        { action: "rotate", actor: "root", before_revision: 1, after_revision: 2, request_id: "rotate-1" },
        { action: "create", actor: maker.id, before_revision: null, after_revision: 1, resource_kind: "token" },
      ]);
    });
  });
});
