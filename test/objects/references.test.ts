import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import type { DeploymentView } from "../../contract/deployment.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import type { Mutation } from "../../contract/request.ts";
import type { WorkloadSpec } from "../../contract/workload.ts";
import type { DeploymentObject } from "../../objects/deployment/object.ts";
import type { NamespaceObject } from "../../objects/namespace/object.ts";
import { remote } from "../../objects/remote.ts";
import { reseal } from "../../objects/reseal.ts";
import { keyIdOf, openText, parseKeys, sealedIn, sealingKeys, sealText } from "../../objects/sealing.ts";
import { SimulatedAgent } from "./simulated-agent.ts";

const mutation = (over: Partial<Mutation> = {}): Mutation => ({
  actor: "tok_test",
  request_id: "req_test",
  if_match: null,
  idempotency: null,
  ...over,
});

let agent: SimulatedAgent;
const label = crypto.randomUUID();
const space = `refs-${crypto.randomUUID().slice(0, 8)}`;
const namespace = remote<NamespaceObject>(env.NAMESPACE, space);

beforeAll(async () => {
  agent = await SimulatedAgent.enrol("sim", { test: label });
  await agent.connect();
  await until(async () => {
    const reply = await agent.host.read();
    return reply.ok && JSON.parse(reply.value.body).status === "ready";
  }, "host ready");
  value(await namespace.createNamespace(mutation()));
});

function value<T>(reply: { ok: true; value: T } | { ok: false; refusal: { code: string; detail: string } }): T {
  if (!reply.ok) throw new Error(`${reply.refusal.code}: ${reply.refusal.detail}`);
  return reply.value;
}

async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function manifest(over: Record<string, unknown>) {
  const checked = checkManifest({
    name: `w-${crypto.randomUUID()}`.slice(0, 40),
    namespace: space,
    runtime: "podman",
    image: "x",
    placement: { labels: { test: label } },
    ...over,
  });
  if (!checked.ok) throw new Error(JSON.stringify(checked.violations));
  return checked.manifest;
}

async function apply(over: Record<string, unknown>): Promise<DeploymentView> {
  const applied = await namespace.apply({ manifest: manifest(over), mutation: mutation(), dryRun: false });
  return JSON.parse(value(applied).body);
}
const deployment = (id: string) => remote<DeploymentObject>(env.DEPLOYMENT, id);
async function view(id: string): Promise<DeploymentView> {
  return JSON.parse(value(await deployment(id).read([])).body);
}
const reaches = (id: string, status: string) =>
  until(async () => (await view(id)).status === status, `${id} is ${status}`);
const specOf = (id: string): WorkloadSpec => {
  const known = agent.workloads.get(`${id}-0`);
  if (!known) throw new Error(`${id} was not applied`);
  return known.workload.spec;
};

const makeSecret = async (name: string, text: string): Promise<string> =>
  JSON.parse(value(await namespace.createSecret({ namespace: space, name, value: text }, mutation())).body).id;
const makeConfig = async (name: string, data: string): Promise<string> =>
  JSON.parse(value(await namespace.createConfig({ namespace: space, name, data }, mutation())).body).id;

type Stub = DurableObjectStub<DeploymentObject | NamespaceObject>;
/** Everything that an object has stored, as text. */
const stored = (stub: Stub): Promise<string> =>
  runInDurableObject(stub as DurableObjectStub<NamespaceObject>, (_object, state) => {
    const tables = state.storage.sql
      .exec<{ name: string }>(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
      )
      .toArray();
    return JSON.stringify(tables.map(({ name }) => state.storage.sql.exec(`SELECT * FROM "${name}"`).toArray()));
  });

describe("references", () => {
  test("reach the agent in clear, and are stored in clear nowhere", async () => {
    const canary = `canary-${crypto.randomUUID()}`;
    await makeSecret("db", `${canary}-env`);
    await makeSecret("tls.key", `${canary}-file`);
    await makeSecret("pull", JSON.stringify({ auths: { "r.test": { auth: btoa(`u:${canary}-pull`) } } }));
    await makeConfig("app", JSON.stringify({ level: "debug", "app.json": '{"a":1}' }));
    const { id } = await apply({
      environment: { PLAIN: "p", DB: { secretRef: "db" }, LEVEL: { configRef: "app", key: "level" } },
      volumes: [
        { type: "config", source: "app", key: "app.json", destination: "/etc/app.json" },
        { type: "secret", source: "tls.key", destination: "/run/tls.key" },
        { type: "volume", source: "data", destination: "/data" },
      ],
      config: { image_pull_secret: "pull" },
    });
    await reaches(id, "running");
    const spec = specOf(id);
    expect(spec.environment).toEqual({ PLAIN: "p", DB: `${canary}-env`, LEVEL: "debug" });
    expect(spec.files).toEqual([
      { destination: "/etc/app.json", content: '{"a":1}' },
      { destination: "/run/tls.key", content: `${canary}-file` },
    ]);
    expect(spec.mounts.map(({ type, source }) => `${type} ${source}`)).toEqual(["volume data"]);
    expect(spec.registry_config).toContain("auths");
    expect([spec.sealed, spec.unreadable]).toEqual([undefined, undefined]);
    const stubs = [
      env.NAMESPACE.getByName(space),
      env.DEPLOYMENT.getByName(id),
      env.HOST.getByName(agent.id) as unknown as Stub,
    ] as Stub[];
    for (const stub of stubs) expect(await stored(stub)).not.toContain(canary);
    expect(sealedIn(await stored(stubs[2] as Stub)).length).toBeGreaterThanOrEqual(3);
    // A new connection restates everything, and opens it again.
    agent.workloads.clear();
    await agent.connect();
    await until(() => agent.workloads.has(`${id}-0`), "restated");
    expect(specOf(id)).toEqual(spec);
  });

  test("that are missing are told, awaited, and healed when they are made", async () => {
    const name = `late-${crypto.randomUUID().slice(0, 8)}`;
    const { id } = await apply({
      environment: { A: { secretRef: name }, B: { configRef: name, key: "k" } },
    });
    const waits = () =>
      runInDurableObject(env.NAMESPACE.getByName(space), (_object, state) =>
        state.storage.sql.exec("SELECT kind FROM awaited WHERE deployment_id = ? ORDER BY kind", id).toArray(),
      );
    await until(async () => (await waits()).length === 2, "both awaited");
    expect(agent.workloads.has(`${id}-0`)).toBe(false);
    const resolution = await namespace.resolve(id, [
      { kind: "secret", name },
      { kind: "config", name, key: "k" },
    ]);
    expect(resolution).toEqual({
      missing:
        `secret '${name}' is missing: make it with \`lamplighter secret create ${name} -n ${space}\`; ` +
        `config '${name}' is missing: make it with \`lamplighter config create ${name} -n ${space}\``,
    });
    await makeSecret(name, "v");
    const config = await makeConfig(name, '{"other":"x"}');
    await until(async () => (await waits()).length === 1, "the config still lacks the entry");
    value(await namespace.updateConfig(config, { data: '{"k":"x"}' }, mutation()));
    await until(async () => (await waits()).length === 0, "nothing awaited");
    await reaches(id, "running");
    expect(specOf(id).environment).toEqual({ A: "v", B: "x" });
    value(await deployment(id).delete(mutation(), []));
  });

  test("that have changed since make a re-apply of the same manifest roll; others do not", async () => {
    const name = `turn-${crypto.randomUUID().slice(0, 8)}`;
    const secret = await makeSecret(name, "one");
    const body = { name, environment: { A: { secretRef: name } }, config: { username: "u", password: "hunter2" } };
    const first = await apply(body);
    await reaches(first.id, "running");
    expect(specOf(first.id).registry).toEqual({ server: null, username: "u", password: "hunter2" });
    expect((await apply(body)).id).toBe(first.id);
    value(await namespace.updateSecret(secret, "two", mutation()));
    expect(specOf(first.id).environment).toEqual({ A: "one" });
    const second = await apply(body);
    expect(second.id).not.toBe(first.id);
    await reaches(second.id, "running");
    expect(specOf(second.id).environment).toEqual({ A: "two" });
    expect((await apply(body)).id).toBe(second.id);
    // One that is gone is nothing to roll to.
    value(await namespace.deleteResource("secret", secret, false, mutation()));
    expect((await apply(body)).id).toBe(second.id);
    expect((await apply({ ...body, config: { username: "u", password: "hunter3" } })).id).not.toBe(second.id);
    for (const stub of [env.NAMESPACE.getByName(space), env.DEPLOYMENT.getByName(second.id)] as Stub[])
      expect(await stored(stub)).not.toContain("hunter");
  });
});

describe("sealing", () => {
  const bytes = (fill: number) => btoa(String.fromCharCode(...new Uint8Array(32).fill(fill)));
  const keysOf = async (text: string) => value(await sealingKeys({ SECRET_KEYS: text }));

  test("opens what it sealed, as what it was sealed, with any key that is still there", async () => {
    const one = await keysOf(`a:${bytes(1)}`);
    const sealed = await sealText(one, "text ✓", "secret:sec_1");
    expect(sealed).not.toContain("text");
    expect(await openText(one, sealed, "secret:sec_1")).toBe("text ✓");
    expect(await openText(one, sealed, "secret:sec_2")).toBeNull();
    const forged = sealed.replace(/\.[^.]*\.([^.]*)$/, `.${btoa("secret:sec_2").replaceAll("=", "")}.$1`);
    expect(await openText(one, forged, "secret:sec_2")).toBeNull();
    const both = await keysOf(`b:${bytes(2)}, a:${bytes(1)}`);
    expect(await openText(both, sealed, "secret:sec_1")).toBe("text ✓");
    expect(keyIdOf(await sealText(both, "x", "y"))).toBe("b");
    expect(await openText(await keysOf(`b:${bytes(2)}`), sealed, "secret:sec_1")).toBeNull();
    expect(await openText(await keysOf(`a:${bytes(3)}`), sealed, "secret:sec_1")).toBeNull();
    // The empty text too.
    expect(await openText(one, await sealText(one, "", "e"), "e")).toBe("");
  });

  test("says what is wrong with keys, and never tells them", async () => {
    for (const text of ["", "  "]) expect(await sealingKeys({ SECRET_KEYS: text })).toMatchObject({ ok: false });
    expect(await sealingKeys({})).toMatchObject({ refusal: { code: "secret_key_missing" } });
    for (const bad of [bytes(1), `a:${btoa("short")}`, `a:${bytes(1)},a:${bytes(2)}`, `a b:${bytes(1)}`, "a:%%%"]) {
      const reply = await sealingKeys({ SECRET_KEYS: bad });
      expect(reply).toMatchObject({ ok: false, refusal: { code: "secret_key_missing" } });
      expect(JSON.stringify(reply)).not.toContain(bytes(1));
      expect(typeof parseKeys(bad)).toBe("string");
    }
  });

  test("is done anew under load, loses no write, and tells what an older key is still needed for", async () => {
    const older = await keysOf(`k0:${bytes(7)}`);
    const name = `rot-${crypto.randomUUID().slice(0, 8)}`;
    const object = remote<NamespaceObject>(env.NAMESPACE, name);
    value(await object.createNamespace(mutation()));
    const ids = await Promise.all(
      Array.from(
        { length: 40 },
        async (_, i) =>
          JSON.parse(
            value(await object.createSecret({ namespace: name, name: `s${i + 10}`, value: `v${i}` }, mutation())).body,
          ).id as string,
      ),
    );
    const current = value(await sealingKeys(env));
    const both = await keysOf(`${env.SECRET_KEYS},k0:${bytes(7)}`);
    // As it was when k0 was the newest.
    await runInDurableObject(env.NAMESPACE.getByName(name), async (_object, state) => {
      for (const [i, id] of ids.entries()) {
        const sealed = await sealText(older, `v${i}`, `secret:${id}`);
        state.storage.sql.exec("UPDATE resource SET content = ? WHERE id = ?", JSON.stringify({ sealed }), id);
      }
    });
    // With k0 gone they cannot be sealed anew, and that is told.
    expect(value(await object.reseal())).toEqual({ resealed: 0, left: { k0: 40 } });
    const outcome = runInDurableObject(env.NAMESPACE.getByName(name), (_object, state) => reseal(state.storage, both));
    const writes = ids
      .slice(0, 10)
      .map((id, i) => object.updateSecret(id, `new${i}`, mutation()).then((reply) => void value(reply)));
    const [{ resealed, left }] = await Promise.all([outcome, ...writes]);
    expect(left).toEqual({});
    expect(resealed).toBeGreaterThanOrEqual(30);
    expect(value(await object.reseal())).toEqual({ resealed: 0, left: {} });
    await runInDurableObject(env.NAMESPACE.getByName(name), async (_object, state) => {
      for (const [i, id] of ids.entries()) {
        const { content } = state.storage.sql
          .exec<{ content: string }>("SELECT content FROM resource WHERE id = ?", id)
          .one();
        const text = await openText(current, JSON.parse(content).sealed, `secret:${id}`);
        expect(text).toBe(i < 10 ? `new${i}` : `v${i}`);
      }
    });
  });
});
