import { env } from "cloudflare:workers";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { newId, ulid } from "../../contract/id.ts";
import { SCOPES } from "../../contract/scope.ts";
import { ROUTES } from "../../src/api/routes.ts";
import { PREFIXES } from "../../src/app.ts";
import { documentOf, type Operation } from "../../src/openapi-document.ts";
import { route } from "../../src/route.ts";
import { freeze, fresh, makeToken, NOW, request, sleeper } from "./client.ts";

type Noun = Parameters<typeof newId>[0];
type Walked = { method: string; path: string; operation: Operation };

const document = documentOf(ROUTES);
const IDS: Record<string, Noun> = {
  deployments: "deployment",
  schedules: "schedule",
  hosts: "host",
  tokens: "token",
  users: "user",
  webhooks: "webhook",
  hooks: "hook",
};

/** Every route of the document, under both prefixes, with ids that exist nowhere. */
const walk: Walked[] = PREFIXES.flatMap((prefix) =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const noun = IDS[path.split("/")[1] ?? ""];
      const id = noun === undefined ? "not_found" : newId(noun, NOW);
      return { method: method.toUpperCase(), path: prefix + path.replace(/\{\w+\}/, id), operation };
    }),
  ),
);
const guarded = walk.filter(({ operation }) => operation.security.length > 0);
const open = walk.filter(({ operation }) => operation.security.length === 0);
const exampleOf = ({ operation }: Walked) => operation.requestBody?.content["application/json"]?.example;
/** Ring answers no lines for a deployment that it does not know, and its clients rely on it. */
const hasNoLines = ({ path }: Walked): boolean => path.endsWith("/logs");
const name = ({ method, path }: Walked) => `${method} ${path.replace(/_[0-9a-z]{26}/, "")}`;

beforeAll(freeze);
afterAll(() => void vi.useRealTimers());

describe("every route", () => {
  it("is in the document", () => {
    expect(walk).toHaveLength(ROUTES.length * 2);
    expect(open.map(name).sort()).toEqual(
      PREFIXES.flatMap((prefix) =>
        [
          "GET /healthz",
          "GET /openapi.json",
          "GET /docs",
          "GET /problems/not_found",
          "POST /login",
          "GET /hosts/host/tunnel",
          "POST /hosts/host/frames",
          "POST /hooks/hook",
          // Programs of instances and connections: each bears a token of its own workload.
          "POST /instances/not_found/reports",
          "POST /connections/not_found/reports",
          "GET /instances/not_found/artifacts/{hash}",
        ].map((line) => line.replace(" ", ` ${prefix}`)),
      ).sort(),
    );
  });

  it("cannot be made without saying who may call it", () => {
    const { access: _, ...rest } = ROUTES[0] as (typeof ROUTES)[number];
    expect(() => route(rest as never)).toThrow(/does not say who may call it/);
  });

  it("refuses every token that is not valid, always alike", async () => {
    const revoked = await makeToken(["admin"]);
    await request("DELETE", `/tokens/${revoked.id}`);
    const expired = await makeToken(["admin"], { expire_at: new Date(NOW + 1).toISOString() });
    const rotated = await makeToken(["admin"]);
    await request("POST", `/tokens/${rotated.id}/rotate`);
    const good = await makeToken(["admin"]);
    vi.setSystemTime(NOW + 1);
    const wrong: Record<string, string | null> = {
      none: null,
      garbage: "garbage",
      unknown: `lamp_${ulid(NOW)}_${"A".repeat(43)}`,
      "wrong secret": `${good.token.slice(0, -43)}${"B".repeat(43)}`,
      "no secret": good.token.slice(0, -44),
      "the id alone": good.id,
      revoked: revoked.token,
      expired: expired.token,
      rotated: rotated.token,
      "the hash of the root token": env.ROOT_TOKEN_HASH,
    };
    const answers = new Set<string>();
    for (const walked of guarded) {
      const tried = Object.entries(wrong).map(async ([kind, token]) => {
        const answer = await request(walked.method, walked.path, {
          token,
          body: exampleOf(walked),
          headers: { "x-request-id": "same" },
        });
        expect(answer.status, `${name(walked)} with ${kind}`).toBe(401);
        expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer /);
        answers.add(answer.text);
      });
      await Promise.all(tried);
      const basic = await request(walked.method, walked.path, {
        token: null,
        headers: { authorization: `Basic ${btoa("a:b")}` },
        body: exampleOf(walked),
      });
      expect(basic.status, `${name(walked)} with Basic`).toBe(401);
    }
    expect(answers.size).toBe(1);
  });

  it("refuses each scope but its own, and names the one that it needs", async () => {
    const tokens = await Promise.all(
      SCOPES.filter((scope) => scope !== "hosts:join").map(async (scope) => ({
        scope: scope as string,
        token: (await makeToken([scope])).token,
      })),
    );
    tokens.push({
      scope: "hosts:join",
      token: (await request<{ token: string }>("POST", "/join-tokens", { body: {} })).body.token,
    });
    for (const walked of guarded) {
      const needed = walked.operation["x-scope"];
      const refused = tokens.map(async ({ scope, token }) => {
        // What would be carried out is not asked for: this is about refusing.
        const holds = needed === "any" || scope === needed || (scope === "admin" && needed !== "hosts:join");
        if (holds) return;
        const answer = await request(walked.method, walked.path, { token, body: exampleOf(walked) });
        expect([answer.status, answer.body.code, answer.body.required_scope], `${name(walked)} with ${scope}`).toEqual([
          403,
          "insufficient_scope",
          needed,
        ]);
      });
      await Promise.all(refused);
      expect(walked.operation.security).toEqual([{ token: needed === "any" ? [] : [needed] }]);
    }
  });

  it("that is about one resource answers 404 for an id that is none, and for one that does not exist", async () => {
    for (const walked of guarded.filter(({ path }) => /_[0-9a-z]{26}/.test(path))) {
      for (const path of [
        walked.path,
        walked.path.replace(/_[0-9a-z]{26}/, "_x"),
        walked.path.replace(/[a-z]+_[0-9a-z]{26}/, encodeURIComponent("../x")),
      ]) {
        const answer = await request(walked.method, path, { body: exampleOf(walked) });
        if (hasNoLines(walked)) expect([answer.status, answer.text], path).toEqual([200, "[]"]);
        else expect([answer.status, answer.body.code], `${walked.method} ${path}`).toEqual([404, "not_found"]);
      }
    }
  });

  it("answers an unknown path with 404 before it looks at the token, and a wrong method with 405 and the right ones", async () => {
    for (const path of ["/nothing", "/v1", "/v1/nothing", "/deployments/", "/v2/deployments", "/hosts/x/y/z"]) {
      const answer = await request("GET", path, { token: null });
      expect([answer.status, answer.body.code], path).toEqual([404, "not_found"]);
    }
    const put = await request("PUT", "/v1/deployments", { token: null });
    expect([put.status, put.body.code, put.headers.get("allow")]).toEqual([
      405,
      "method_not_allowed",
      "POST, GET, HEAD",
    ]);
    const patterns = ROUTES.map((one) => ({ ...one, form: new RegExp(`^${one.path.replace(/:\w+/g, "[^/]+")}$`) }));
    for (const { path } of walk) {
      const here = patterns
        .filter(({ form }) => form.test(path.replace(/^\/v1/, "")))
        .map((one) => one.method as string);
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"].filter((one) => !here.includes(one)))
        expect((await request(method, path, { token: null })).status, `${method} ${path}`).toBe(405);
    }
  });

  it("that only an agent may call refuses who does not sign", async () => {
    const host = newId("host", NOW);
    expect((await request("GET", `/hosts/${host}/tunnel`)).status).toBe(401);
    const frame = await request("POST", `/hosts/${host}/frames`, { body: { p: "{}", s: "x" } });
    expect(frame.status).toBe(404);
  });
});

describe("a token that is for some namespaces", () => {
  it("sees nothing of the others, and changes nothing there", async () => {
    const mine = fresh("mine");
    const other = fresh("other");
    const bound = (await makeToken(["deployments:read", "deployments:write", "audit:read"], { namespaces: [mine] }))
      .token;
    const made = await request<{ id: string }>("POST", "/deployments", { body: sleeper({ namespace: other }) });
    const { id } = made.body;
    const own = await request<{ id: string }>("POST", "/deployments", {
      token: bound,
      body: sleeper({ namespace: mine }),
    });
    expect([made.status, own.status]).toEqual([201, 201]);

    for (const walked of guarded.filter(({ path }) => path.includes("/deployments/"))) {
      const path = walked.path.replace(/dep_[0-9a-z]{26}/, id);
      const answer = await request(walked.method, path, { token: bound, body: exampleOf(walked) });
      if (hasNoLines(walked)) expect([answer.status, answer.text]).toEqual([200, "[]"]);
      else expect([answer.status, answer.body.code], name(walked)).toEqual([404, "not_found"]);
    }
    expect((await request("GET", `/deployments/${id}`)).body.status).not.toBe("deleted");

    const refused = await request("POST", "/deployments", {
      token: bound,
      body: { namespace: other, replicas: "many" },
    });
    expect([refused.status, refused.body.code]).toEqual([403, "namespace_not_permitted"]);
    const dry = await request("POST", "/deployments?dry_run=true", {
      token: bound,
      body: sleeper({ namespace: other }),
    });
    expect(dry.status).toBe(403);
    // The default namespace is a namespace like any other.
    expect((await request("POST", "/deployments", { token: bound, body: sleeper() })).status).toBe(403);

    await vi.waitFor(async () => {
      const list = await request<{ id: string }[]>("GET", "/deployments", { token: bound });
      expect(list.body.map((one) => one.id)).toEqual([own.body.id]);
      const both = await request<{ id: string }[]>("GET", `/deployments?namespace=${mine}&namespace[]=${other}`, {
        token: bound,
      });
      expect(both.body.map((one) => one.id)).toEqual([own.body.id]);
      expect((await request("GET", `/deployments?namespace=${other}`, { token: bound })).text).toBe("[]");
      const trail = await request<{ namespace: string }[]>("GET", "/audit?limit=1000", { token: bound });
      expect(trail.body.length).toBeGreaterThan(0);
      expect(trail.body.every(({ namespace }) => namespace === mine)).toBe(true);
      expect((await request("GET", `/audit?namespace=${other}`, { token: bound })).text).toBe("[]");
    });
  });
});
