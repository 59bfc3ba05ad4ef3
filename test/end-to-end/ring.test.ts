// Ring's clients against the whole system: a control plane over HTTP, an agent, a container engine. What is sent and decoded, request by request, is
// in test/ring; here it is what comes back of what really runs.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testImage } from "../docker-image.ts";
import { RingClient } from "../ring/client.ts";
import { until } from "./client.ts";
import { Cluster, docker } from "./cluster.ts";

const PASSWORD = "changeme-changeme";

describe.skipIf(!docker.available)("Ring's command line", () => {
  let cluster: Cluster;
  let ring: RingClient;
  beforeAll(async () => {
    cluster = await Cluster.start([{ name: "one", runtimes: ["docker"] }], { docker });
    ring = new RingClient((path, init) => fetch(cluster.url + path, init));
    const admin = { username: "admin", password: PASSWORD, role: "admin" };
    expect((await cluster.client.send("POST", "/users", { body: admin })).status).toBe(201);
  });
  afterAll(() => cluster?.close());

  test("logs in, applies its file, sees it run, follows its logs, and takes it away again", async () => {
    await ring.login("admin", PASSWORD);
    const { namespace } = cluster;
    const script = 'cat /etc/app.conf; echo "db $DB"; trap exit TERM; while :; do echo tick; sleep 1; done';
    await ring.apply({ namespaces: { it: { name: namespace } }, deployments: {} });
    await ring.createSecret(namespace, "db-password", "s3cret");
    const { printed, deployments } = await ring.apply({
      namespaces: { it: { name: namespace } },
      configs: { app: { namespace, name: "app", data: JSON.stringify({ "app.conf": "color=blue\n" }) } },
      deployments: {
        web: {
          name: "web",
          namespace,
          runtime: "docker",
          image: testImage,
          replicas: 1,
          command: ["/bin/sh", "-c", script],
          labels: [{ tier: "front" }],
          environment: { DB: { secretRef: "db-password" } },
          volumes: [{ type: "config", source: "app", key: "app.conf", destination: "/etc/app.conf" }],
          health_checks: [
            {
              type: "command",
              command: "test -f /etc/app.conf",
              interval: "1s",
              timeout: "1s",
              on_failure: "restart",
              readiness: true,
              min_healthy_time: "1s",
            },
          ],
          resources: { limits: { cpu: "500m", memory: "64Mi" } },
          config: { image_pull_policy: "Never" },
        },
      },
    });
    expect(printed).toEqual([`namespace ${namespace} already exists, skipping`, "config app 201"]);
    const id = deployments[0]?.id as string;
    await until(
      () => "it does not run",
      async () => (await ring.deployments(`?namespace=${namespace}&status=running&label=tier=front`)).length === 1,
    );
    // Scripts around Ring find containers by this label.
    const found = await cluster.engine?.listContainers({ filters: { label: [`ring_deployment=${id}`] } });
    expect(found).toHaveLength(1);
    expect((await ring.deployment(id)).instances[0]?.address).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect((await ring.events(id)).map(({ reason }) => reason)).toContain("state_transition");
    expect((await ring.healthChecks(id))[0]).toMatchObject({ check_type: "command", status: "success" });
    expect(await ring.metrics(id)).toMatchObject({ deployment_id: id, instance_count: 1 });
    expect((await ring.node()).cpu_count).toBeGreaterThan(0);
    expect((await ring.logs(id, "?tail=100")).map(({ message }) => message)).toEqual(
      expect.arrayContaining(["color=blue", "db s3cret"]),
    );

    const ends = new AbortController();
    const followed: string[] = [];
    for await (const { message } of ring.follow(id, ends.signal)) {
      followed.push(message);
      if (followed.filter((one) => one === "tick").length > 3) break;
    }
    ends.abort();
    expect(followed.slice(0, 2)).toEqual(["color=blue", "db s3cret"]);

    await ring.deleteDeployment(id);
    await until(
      () => "it stays",
      async () => (await ring.deployments(`?namespace=${namespace}`)).length === 0,
    );
    expect(await cluster.liveOf(id)).toEqual([]);
    const [config] = await ring.configs(namespace);
    await ring.deleteConfig(config?.id as string);
    const [secret] = await ring.secrets(namespace);
    await ring.deleteSecret(secret?.id as string);
    await until(
      () => "the namespace is not empty",
      () =>
        ring.deleteNamespace(namespace).then(
          () => true,
          () => false,
        ),
    );
    await ring.logout();
  });
});
