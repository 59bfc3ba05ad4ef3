// Ring's own command line pointed at this control plane, as far as it can be told without Ring: every request that it sends, every answer decoded
// as strictly as it does.
import { exports } from "cloudflare:workers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROUTES } from "../../src/api/routes.ts";
import { documentOf } from "../../src/openapi-document.ts";
import { fresh, ROOT, request } from "../api/client.ts";
import { running, SimulatedAgent } from "../objects/simulated-agent.ts";
import { RingClient, Unexpected } from "./client.ts";

const carry = (path: string, init: RequestInit) => exports.default.fetch(`http://ring${path}`, init);
const paths = documentOf(ROUTES).paths;
const has = (path: string): boolean => path in paths;

const ring = new RingClient(carry);
const username = fresh("ring").slice(0, 40);
const PASSWORD = "changeme-changeme";
const space = fresh("ring").slice(0, 40);
let agent: SimulatedAgent;

beforeAll(async () => {
  agent = await SimulatedAgent.enrol(fresh("ring"), {});
  agent.behaviour = (workload) => ({ ...running(workload), address: "172.18.0.3" }) as never;
  await agent.connect();
  await setOthersAside();
  await request("POST", "/users", { body: { username, password: PASSWORD, role: "admin" } });
});
afterAll(async () => {
  for (const id of aside) await request("POST", `/hosts/${id}/uncordon`);
  agent.disconnect();
});

/** Other files of this project have hosts too, which would take what is to run here: Ring has no word for where. */
const aside: string[] = [];
async function setOthersAside(): Promise<void> {
  const { body } = await request<{ id: string; scheduling: string }[]>("GET", "/hosts?limit=1000");
  for (const { id, scheduling } of body) {
    if (id === agent.id || scheduling !== "open") continue;
    await request("POST", `/hosts/${id}/cordon`);
    aside.push(id);
  }
}

const refusal = async (work: Promise<unknown>): Promise<Unexpected> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof Unexpected) return error;
    throw error;
  }
  throw new Error("it was not refused");
};
async function until<T>(read: () => Promise<T>, fits: (value: T) => boolean): Promise<T> {
  for (let i = 0; i < 500; i++) {
    const value = await read();
    if (fits(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("not within 5 s");
}

const NGINX = {
  name: "web",
  namespace: space,
  runtime: "podman",
  image: "nginx:alpine",
  replicas: 2,
  labels: [{ env: "prod" }, { tier: "front" }],
  environment: { LOG: "debug" },
  health_checks: [{ type: "tcp", port: 80, interval: "10s", timeout: "5s", on_failure: "restart" }],
  resources: { limits: { cpu: "500m", memory: "128Mi" } },
  config: { image_pull_policy: "IfNotPresent" },
};

describe("Ring's command line", () => {
  test("logs in, and is told why when it cannot", async () => {
    expect((await refusal(ring.login(username, "wrong-password"))).status).toBe(401);
    await ring.login(username, PASSWORD);
    expect(await ring.me()).toMatchObject({ username });
  });

  test("applies, lists in both spellings, inspects, reads events, and deletes twice", async () => {
    const { deployments } = await ring.apply({ deployments: { any: NGINX } });
    const id = deployments[0]?.id as string;
    expect(deployments[0]).toMatchObject({ name: "web", kind: "worker", labels: { env: "prod", tier: "front" } });
    const up = await until(
      () => ring.deployment(id),
      ({ status }) => status === "running",
    );
    expect(up.instances.map(({ address }) => address)).toEqual(["172.18.0.3", "172.18.0.3"]);
    expect(up.config).toMatchObject({
      image_pull_policy: "IfNotPresent",
      server: null,
      username: null,
      password: null,
    });
    for (const query of [
      `?namespace=${space}`,
      `?namespace[]=${space}`,
      `?namespace%5B%5D=${space}&status[]=running&status[]=failed`,
      `?namespace=${space}&kind=worker&label=env=prod&label=tier&instances=true&something=else`,
    ])
      expect(
        await until(
          () => ring.deployments(query),
          (rows) => rows[0]?.status === "running",
        ),
        query,
      ).toMatchObject([{ id }]);
    expect(await ring.deployments(`?namespace=${space}&label=env=test`)).toEqual([]);
    const events = await ring.events(id);
    expect(events.at(-1)).toMatchObject({ reason: "deployment_created", deployment_id: id });
    expect(await ring.events(id, "?level=error&limit=1")).toEqual([]);
    expect(await ring.healthChecks(id)).toEqual([]);
    await ring.deleteDeployment(id);
    await until(
      () => ring.deployments(`?namespace=${space}`),
      (rows) => rows.length === 0,
    );
    expect((await refusal(ring.deployment(id))).status).toBe(404);
  });

  test("without a namespace, without replicas, and by force", async () => {
    const name = fresh("bare").slice(0, 40);
    const { deployments } = await ring.apply({ deployments: { a: { name, image: "nginx", runtime: "podman" } } });
    // The command line sends 0 where nothing is written.
    expect(deployments[0]).toMatchObject({ namespace: "default", replicas: 0, instances: [] });
    const forced = await ring.apply({ deployments: { a: { name, image: "nginx", runtime: "podman" } } }, true);
    expect(forced.deployments[0]?.id).not.toBe(deployments[0]?.id);
    await ring.deleteDeployment(forced.deployments[0]?.id as string);
  });

  test("lists everything there is, without pages, and what Ring has no word for", async () => {
    await request("POST", "/deployments", {
      body: { name: fresh("p"), namespace: space, runtime: "process", command: ["x"] },
    });
    const rows = await until(
      () => ring.deployments(`?namespace=${space}`),
      (all) => all.length === 1,
    );
    expect(rows[0]).toMatchObject({ runtime: "process", image: "" });
    expect(
      (await carry("/deployments", { headers: { authorization: `Bearer ${ROOT}` } })).headers.get("link"),
    ).toBeNull();
    await ring.deleteDeployment(rows[0]?.id as string);
  });

  test("is told all that is wrong, with the members that it looks for", async () => {
    const bad = {
      ...NGINX,
      runtime: "containerd",
      ports: [{ published: 0, target: 80 }],
      environment: { "1BAD": "x" },
    };
    const { status, body } = await refusal(ring.apply({ deployments: { bad } }));
    expect([status, body.title]).toEqual([422, "Validation failed"]);
    const violations = body.violations as { property_path: string; code: string }[];
    expect(violations.map(({ property_path, code }) => `${property_path} ${code}`)).toEqual(
      expect.arrayContaining([
        "runtime deployment.runtime.unsupported",
        "ports[0].published deployment.ports.published.out_of_range",
        "environment.1BAD deployment.environment.key.invalid",
      ]),
    );
    const nobody = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
    expect((await refusal(ring.events(nobody))).body).toMatchObject({ error: "Deployment not found" });
    expect((await refusal(ring.healthChecks(nobody))).body).toMatchObject({ message: "Deployment not found" });
    expect((await refusal(ring.deployment(nobody))).status).toBe(404);
    expect((await refusal(ring.deleteDeployment(nobody))).status).toBe(404);
    expect(await ring.logs(nobody, "?tail=10")).toEqual([]);
    const stranger = new RingClient(carry);
    stranger.token = `ring_pat_${"0".repeat(64)}`;
    const unknown = await refusal(stranger.deployments());
    expect([unknown.status, unknown.body.error]).toEqual([401, "Invalid token"]);
  });

  test("manages tokens", async () => {
    const made = await ring.createToken("ci", ["deployments:read"], [space]);
    const scoped = new RingClient(carry);
    scoped.token = made.token;
    // What was deleted leaves the list a moment later.
    await until(
      () => scoped.deployments(),
      (rows) => rows.length === 0,
    );
    const refused = await refusal(scoped.apply({ deployments: { a: NGINX } }));
    expect([refused.status, refused.body.error]).toEqual([403, "token lacks required scope 'deployments:write'"]);
    expect(
      (
        await until(
          () => ring.tokens(),
          (all) => all.some(({ id }) => id === made.id),
        )
      ).length,
    ).toBeGreaterThan(0);
    const rotated = await ring.rotateToken(made.id);
    expect((await refusal(scoped.deployments())).status).toBe(401);
    scoped.token = rotated.token;
    expect(await scoped.deployments()).toEqual([]);
    await ring.revokeToken(rotated.id);
  });

  test("manages users", async () => {
    const made = await ring.createUser(fresh("u").slice(0, 40), "a long password");
    expect(
      await until(
        () => ring.users(),
        (all) => all.some(({ id }) => id === made.id),
      ),
    ).toBeTruthy();
    await ring.updateUser(made.id, { password: "another password" });
    await ring.deleteUser(made.id);
    expect((await refusal(ring.deleteUser((await ring.me()).id))).status).toBe(403);
  });

  test.skipIf(!has("/namespaces"))("manages namespaces, also from a file", async () => {
    const name = fresh("ns").slice(0, 40);
    const made = await ring.createNamespace(name);
    expect(made).toMatchObject({ name, updated_at: "" });
    expect((await refusal(ring.createNamespace(name))).status).toBe(409);
    expect(
      (
        await until(
          () => ring.namespaces(),
          (all) => all.some((one) => one.name === name),
        )
      ).length,
    ).toBeGreaterThan(0);
    const { printed, deployments } = await ring.apply({
      namespaces: { it: { name } },
      deployments: { a: { ...NGINX, namespace: name } },
    });
    expect(printed).toEqual([`namespace ${name} already exists, skipping`]);
    const held = await refusal(ring.deleteNamespace(name));
    expect([held.status, held.body.error, held.body.remaining]).toEqual([409, "namespace is not empty", 1]);
    expect(
      await until(
        () => ring.namespaceAudit(name),
        (all) => all.length > 0,
      ),
    ).toBeTruthy();
    await ring.deleteDeployment(deployments[0]?.id as string);
    await until(
      () =>
        ring.deleteNamespace(name).then(
          () => true,
          () => false,
        ),
      (done) => done,
    );
  });

  test.skipIf(!has("/configs"))("manages configs, also from a file, and puts one anew that is there", async () => {
    const config = { namespace: space, name: "app", data: JSON.stringify({ "app.conf": "a=1" }) };
    const file = { configs: { app: config }, deployments: {} };
    expect((await ring.apply(file)).printed).toEqual(["config app 201"]);
    expect((await ring.apply(file)).printed).toEqual(["config app updated"]);
    const [listed] = await until(
      () => ring.configs(space),
      (all) => all.length === 1,
    );
    expect(await ring.config(listed?.id as string)).toMatchObject({ name: "app", data: config.data });
    await ring.deleteConfig(listed?.id as string);
    expect((await refusal(ring.deleteConfig(listed?.id as string))).status).toBe(404);
  });

  test.skipIf(!has("/secrets"))("manages secrets, whose values never come back", async () => {
    const other = fresh("none").slice(0, 40);
    expect((await refusal(ring.createSecret(other, "db-password", "s3cret"))).status).toBe(404);
    await ring.apply({ namespaces: { it: { name: space } }, deployments: {} });
    const made = await ring.createSecret(space, "db-password", "s3cret");
    expect(
      JSON.stringify(
        await until(
          () => ring.secrets(space),
          (all) => all.length === 1,
        ),
      ),
    ).not.toContain("s3cret");
    await ring.deleteSecret(made.id, true);
    expect((await refusal(ring.deleteSecret(made.id))).body).toMatchObject({ error: "Secret not found" });
  });

  test.skipIf(!has("/webhooks"))("manages webhooks", async () => {
    const made = await ring.createWebhook(
      "https://example.com/hook",
      ["deployment.status_changed"],
      "a-shared-secret-0123456789",
    );
    expect(
      (
        await until(
          () => ring.webhooks(),
          (all) => all.some(({ id }) => id === made.id),
        )
      ).length,
    ).toBeGreaterThan(0);
    await ring.deleteWebhook(made.id);
  });

  test("logs out: what it held is worth nothing then", async () => {
    await ring.logout();
    expect((await refusal(ring.deployments())).status).toBe(401);
  });
});
