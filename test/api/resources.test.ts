import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { ConfigView } from "../../contract/config.ts";
import type { AuditEntry } from "../../contract/event.ts";
import { NamespaceView } from "../../contract/namespace.ts";
import { ResealReport, SecretView } from "../../contract/secret.ts";
import { VolumeView } from "../../contract/volume.ts";
import { sha256Hex } from "../../objects/token/secret.ts";
import { fresh, type Got, makeToken, ROOT, request, sleeper } from "./client.ts";

type Body = Record<string, unknown>;
const post = (path: string, body: Body, headers: Record<string, string> = {}) =>
  request<Body>("POST", path, { body, headers });
const codes = (body: Body) => (body.violations as { code: string }[]).map(({ code }) => code);

async function namespace(stem = "ns"): Promise<string> {
  const name = fresh(stem);
  expect((await post("/namespaces", { name })).status).toBe(201);
  return name;
}

describe("namespaces", () => {
  it("are made once, read by id and by name, listed by name, and deleted by name", async () => {
    const name = fresh("shop");
    const made = await post("/namespaces", { name });
    const view = NamespaceView.parse(made.body);
    expect([made.status, view.name, view.updated_at]).toEqual([201, name, ""]);
    expect((await post("/namespaces", { name })).body).toMatchObject({ status: 409, code: "name_taken" });
    for (const path of [`/namespaces/${view.id}`, `/namespaces/${name}`])
      expect((await request("GET", path)).body).toEqual(made.body);
    const names = (await request<NamespaceView[]>("GET", "/namespaces")).body.map((one) => one.name);
    expect(names).toContain(name);
    expect(names).toContain("default");
    expect(names).toEqual([...names].sort());
    expect((await request("DELETE", `/namespaces/${name}`)).status).toBe(204);
    for (const [method, path] of [
      ["DELETE", `/namespaces/${name}`],
      ["GET", `/namespaces/${view.id}`],
      ["GET", `/namespaces/${name}`],
    ] as const)
      expect((await request(method, path)).body).toMatchObject({ status: 404, error: "Namespace not found" });
    expect((await request<NamespaceView[]>("GET", "/namespaces")).text).not.toContain(name);
    const trail = await request<AuditEntry[]>("GET", `/namespaces/${name}/audit`);
    expect(trail.body).toMatchObject([
      { action: "delete", user_id: "root", target_type: "namespace", target_name: name, namespace: name },
      { action: "create" },
    ]);
    expect((await request("GET", `/namespaces/${fresh("never")}/audit`)).text).toBe("[]");
    // A new one of the name is another one.
    expect((await post("/namespaces", { name })).body.id).not.toBe(view.id);
  });

  it("are not deleted while something is in them, and the default one never", async () => {
    const name = await namespace();
    const config = await post("/configs", { namespace: name, name: "c", data: "{}" });
    const secret = await post("/secrets", { namespace: name, name: "s1", value: "v" });
    await post("/volumes", { namespace: name, name: "v1" });
    const applied = await request<Body>("POST", "/deployments", { body: sleeper({ namespace: name }) });
    const refused = await request("DELETE", `/namespaces/${name}`);
    expect(refused.body).toMatchObject({
      status: 409,
      code: "namespace_not_empty",
      error: "namespace is not empty",
      remaining: 3,
      hint: expect.any(String),
    });
    await request("DELETE", `/configs/${config.body.id}`);
    await request("DELETE", `/secrets/${secret.body.id}`);
    await request("DELETE", `/deployments/${applied.body.id}`, { headers: { prefer: "wait=10" } });
    expect((await request("DELETE", `/namespaces/${name}`)).status).toBe(204);
    expect((await request("GET", `/volumes?namespace=${name}`)).text).toBe("[]");
    expect((await request("DELETE", "/namespaces/default")).body).toMatchObject({ code: "action_not_allowed" });
  });

  it("have names with a rule, whose codes are Ring's", async () => {
    for (const [name, expected] of [
      ["x", ["namespace.name.length", "namespace.name.format"]],
      ["Shop", ["namespace.name.format"]],
      ["a".repeat(64), ["namespace.name.length"]],
      ["-a", ["namespace.name.format"]],
    ] as const) {
      const { status, body } = await post("/namespaces", { name });
      expect([status, codes(body)]).toEqual([422, expected]);
    }
  });

  it("come with the first manifest, if the token may make them", async () => {
    const apply = (token: string, name: string) =>
      request("POST", "/deployments", { token, body: sleeper({ namespace: name }) });
    const wide = (await makeToken(["deployments:write"])).token;
    const name = fresh("made");
    expect((await apply(wide, name)).body).toMatchObject({
      status: 403,
      code: "insufficient_scope",
      required_scope: "namespaces:write",
    });
    expect((await request("GET", `/namespaces/${name}`)).status).toBe(404);
    const own = (await makeToken(["deployments:write"], { namespaces: [name] })).token;
    expect((await apply(own, name)).status).toBe(201);
    expect((await request("GET", `/namespaces/${name}`)).status).toBe(200);
    // There it is now.
    expect((await apply(wide, name)).status).toBe(201);
    expect((await apply(wide, "default")).status).toBe(201);
    const maker = (await makeToken(["deployments:write", "namespaces:write"])).token;
    expect((await apply(maker, fresh("made"))).status).toBe(201);
  });
});

describe("configs", () => {
  it("are made, read, listed, put anew and deleted", async () => {
    const space = fresh("cfg");
    const data = '{"app.json":"{}"}';
    const made = await post("/configs", { namespace: space, name: "web", data, labels: "a=b" });
    const view = ConfigView.parse(made.body);
    expect([made.status, view.updated_at, view.data, view.labels]).toEqual([201, null, data, "a=b"]);
    expect(made.headers.get("location")).toBe(`/configs/${view.id}`);
    // It brought its namespace about.
    expect((await request("GET", `/namespaces/${space}`)).status).toBe(200);
    const path = `/configs/${view.id}`;
    expect((await request("GET", path)).body).toEqual(made.body);
    for (const query of [`namespace=${space}&name=web`, `namespace[]=${space}&name[]=web&name[]=other`])
      expect((await request("GET", `/configs?${query}`)).body).toEqual([made.body]);
    expect((await request("GET", `/configs?namespace=${space}&name=other`)).text).toBe("[]");
    expect((await post("/configs", { namespace: space, name: "web", data })).body).toMatchObject({
      status: 409,
      code: "name_taken",
    });
    const stale = await request("PUT", path, { body: { name: "web", data: "{}" }, headers: { "if-match": '"r9"' } });
    expect(stale.status).toBe(412);
    const bad = await request("PUT", path, { body: { name: "web", data: "not json" } });
    expect([bad.status, codes(bad.body)]).toEqual([422, ["config.data.invalid_json"]]);
    const put = await request<Body>("PUT", path, {
      body: { name: "web", data: "{}" },
      headers: { "if-match": '"r1"' },
    });
    expect([put.status, put.body.data, put.body.labels, put.body.revision]).toEqual([200, "{}", null, 2]);
    expect((await request("GET", path, { headers: { "if-none-match": '"r2"' } })).status).toBe(304);
    expect((await request<Body[]>("GET", `/configs?namespace=${space}`)).body).toEqual([put.body]);
    expect((await request("PUT", path, { body: { name: "other", data: "{}" } })).body.code).toBe("name_taken");
    expect((await request("DELETE", path)).status).toBe(204);
    for (const method of ["DELETE", "GET"] as const)
      expect((await request(method, path)).body).toMatchObject({ status: 404, error: "Config not found" });
    expect((await request("PUT", path, { body: { data: "{}" } })).status).toBe(404);
  });

  it("are refused with Ring's codes", async () => {
    const { body } = await post("/configs", { namespace: "", name: "A_B", data: "", labels: "x".repeat(1001) });
    expect(codes(body)).toEqual([
      "config.namespace.length",
      "config.namespace.format",
      "config.name.format",
      "config.data.length",
      "config.labels.length",
    ]);
  });

  it("are made once with an Idempotency-Key", async () => {
    const body = { namespace: fresh("once"), name: "c", data: "{}" };
    const headers = { "idempotency-key": fresh("key") };
    const all = await Promise.all(Array.from({ length: 5 }, () => post("/configs", body, headers)));
    expect(new Set(all.map(({ text }) => text)).size).toBe(1);
    expect((await post("/configs", { ...body, data: "[]" }, headers)).body.code).toBe("idempotency_key_reused");
  });
});

describe("secrets", () => {
  it("never answer their value", async () => {
    const space = await namespace();
    const value = `canary-${crypto.randomUUID()}`;
    const made = await post("/secrets", { namespace: space, name: "DB_pass.1", value });
    const view = SecretView.parse(made.body);
    expect([made.status, view.name]).toEqual([201, "DB_pass.1"]);
    const path = `/secrets/${view.id}`;
    const put = await request<Body>("PUT", path, { body: { value: `${value}-2` } });
    expect([put.status, put.body.revision, typeof put.body.updated_at]).toEqual([200, 2, "string"]);
    const answers = await Promise.all(
      [path, `/secrets?namespace[]=${space}`, `/namespaces/${space}/audit`, `/audit?namespace=${space}`].map((one) =>
        request("GET", one),
      ),
    );
    for (const { status, text } of [made, put, ...answers]) {
      expect(status).toBeLessThan(300);
      expect(text).toContain(view.id);
      expect(text).not.toContain("canary");
    }
    expect((await request("PUT", path, { body: { value: `${value}-2` } })).body).toEqual(put.body);
    expect((await request("DELETE", path)).status).toBe(204);
    expect((await request("DELETE", path)).body).toMatchObject({ status: 404, error: "Secret not found" });
  });

  it("need a namespace that is there", async () => {
    const space = fresh("nowhere");
    const { body } = await post("/secrets", { namespace: space, name: "s1", value: "v" });
    expect(body).toMatchObject({ status: 404, code: "not_found" });
    expect(body.detail).toContain(`namespace '${space}' does not exist`);
    expect((await post("/volumes", { namespace: space, name: "v1" })).status).toBe(404);
    expect((await post("/secrets", { namespace: "default", name: fresh("s"), value: "v" })).status).toBe(201);
  });

  it("are refused with Ring's codes", async () => {
    const { body } = await post("/secrets", { namespace: "X", name: "-", value: "" });
    expect(codes(body)).toEqual([
      "secret.namespace.format",
      "secret.name.length",
      "secret.name.format",
      "secret.value.length",
    ]);
  });

  it("are not there for a token of another namespace", async () => {
    const space = await namespace();
    const { body } = await post("/secrets", { namespace: space, name: "s1", value: "v" });
    const { token } = await makeToken(["secrets:read", "secrets:write", "namespaces:read"], { namespaces: ["other"] });
    for (const method of ["GET", "DELETE"] as const)
      expect((await request(method, `/secrets/${body.id}`, { token })).status).toBe(404);
    expect((await request("GET", `/secrets?namespace=${space}`, { token })).text).toBe("[]");
    expect((await request("GET", `/namespaces/${space}`, { token })).status).toBe(404);
    expect((await request("GET", "/namespaces", { token })).text).toBe("[]");
    const made = await request("POST", "/secrets", { token, body: { namespace: space, name: "s2", value: "v" } });
    expect(made.body.code).toBe("namespace_not_permitted");
  });

  it("are deleted though something refers to them, unless it is asked that they are not", async () => {
    const space = await namespace();
    const { body } = await post("/secrets", { namespace: space, name: "s1", value: "v" });
    const manifest = sleeper({ namespace: space, environment: { S: { secretRef: "s1" } } });
    const applied = await request<Body>("POST", "/deployments", { body: manifest });
    expect(applied.body.environment).toEqual({ S: { secretRef: "s1" } });
    const refused = await request("DELETE", `/secrets/${body.id}?force=false`);
    expect(refused.body).toMatchObject({
      status: 409,
      code: "still_referenced",
      error: "secret is still referenced",
      deployments: [`${space}/${manifest.name}`],
    });
    expect((await request("DELETE", `/secrets/${body.id}`)).status).toBe(204);
  });
});

describe("sealing everything anew", () => {
  it("goes through every kind of object, a part at a time, and is for admins", async () => {
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const { status, body }: Got<ResealReport> = await request(
        "POST",
        `/secrets/reseal${cursor === "" ? "" : `?cursor=${encodeURIComponent(cursor)}`}`,
      );
      expect(status).toBe(200);
      ResealReport.parse(body);
      expect(body).toMatchObject({ key: "k2" });
      cursor = body.next;
      if (cursor !== null) seen.push(cursor.split("~")[0] as string);
    }
    expect(new Set(seen)).toEqual(
      new Set(["host", "deployment", "database", "schedule", "webhook", "hook", "connection", "instance"]),
    );
    expect((await request("POST", "/secrets/reseal?cursor=token~")).status).toBe(400);
    const { token } = await makeToken(["secrets:write", "secrets:read"]);
    expect((await request("POST", "/secrets/reseal", { token })).body.code).toBe("insufficient_scope");
  });
});

describe("fingerprints of requests", () => {
  it("are no digest that a guess at the value could be checked against", async () => {
    const space = await namespace();
    const sent = { namespace: space, name: "pin", value: "1234" };
    const key = fresh("key");
    const first = await post("/secrets", sent, { "idempotency-key": key });
    expect((await post("/secrets", sent, { "idempotency-key": key })).text).toBe(first.text);
    const kept = await runInDurableObject(env.NAMESPACE.getByName(space), (_object, state) =>
      state.storage.sql.exec<{ fingerprint: string }>("SELECT fingerprint FROM request WHERE key = ?", key).one(),
    );
    const known = ["root", "POST", "/secrets", JSON.stringify(sent)].join("\n");
    expect(kept.fingerprint).not.toBe(await sha256Hex(known));
    expect(kept.fingerprint).toBe(await sha256Hex(`${ROOT}\n${known}`));
  });
});

describe("volumes", () => {
  it("are registered by hand or by a manifest, and not deleted while one mounts them", async () => {
    const space = await namespace();
    const made = await post("/volumes", { namespace: space, name: "data", size: "1Gi", labels: { tier: "a" } });
    expect(VolumeView.parse(made.body)).toMatchObject({ backend_type: "local", size: "1Gi", registered_by: "api" });
    const mount = { type: "volume", destination: "/d" };
    const manifest = {
      name: fresh("v"),
      namespace: space,
      image: "x",
      volumes: [
        { ...mount, source: "data" },
        { ...mount, source: "more", destination: "/e" },
      ],
    };
    const applied = await request<Body>("POST", "/deployments", { body: manifest });
    expect(applied.status).toBe(201);
    const listed = async (query = "") =>
      (await request<VolumeView[]>("GET", `/volumes?namespace=${space}${query}`)).body.map(
        ({ name, registered_by }) => `${name} ${registered_by}`,
      );
    expect((await listed()).sort()).toEqual(["data api", "more deployment"]);
    expect(await listed("&label=tier=a")).toEqual(["data api"]);
    const path = `/volumes/${made.body.id}`;
    expect((await request("DELETE", path)).body).toMatchObject({
      code: "still_referenced",
      deployments: [`${space}/${manifest.name}`],
      hint: expect.any(String),
    });
    expect((await request("DELETE", `${path}?force=true`)).status).toBe(204);
    expect((await request("DELETE", path)).body).toMatchObject({ status: 404, error: "Volume not found" });
    await request("DELETE", `/deployments/${applied.body.id}`, { headers: { prefer: "wait=10" } });
    const [more] = (await request<VolumeView[]>("GET", `/volumes?namespace=${space}`)).body;
    expect((await request("DELETE", `/volumes/${more?.id}`)).status).toBe(204);
  });

  it("are refused for a backend that there is not", async () => {
    const { status, body } = await post("/volumes", { namespace: "default", name: "v", backend_type: "nfs" });
    expect([status, codes(body)]).toEqual([
      422,
      ["volume.name.length", "volume.name.format", "volume.backend_type.unsupported"],
    ]);
  });
});
