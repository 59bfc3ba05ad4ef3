import { createHash, createHmac, randomUUID } from "node:crypto";
import { statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Webhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { newSecretKey, secretKeys, secretKeysPath } from "../../cli/up/secret-keys.ts";
import type { DeploymentView } from "../../contract/deployment.ts";
import type { ResealReport } from "../../contract/secret.ts";
import type { ExecResult } from "../../contract/workload.ts";
import { WebhookReceiver } from "../webhook-receiver.ts";
import { type Ask, until } from "./client.ts";
import { Cluster, docker } from "./cluster.ts";
import { type Expected, settled } from "./invariants.ts";
import { type TestRuntime, worker } from "./manifests.ts";

const RUNTIMES: TestRuntime[] = docker.available ? ["process", "docker"] : ["process"];

let cluster: Cluster;
let receiver: WebhookReceiver;
beforeAll(async () => {
  receiver = await WebhookReceiver.start();
  cluster = await Cluster.start([{ name: "one" }], { docker, keepAnswers: true, webhookTargets: "any" });
  await post("/namespaces", { name: cluster.namespace });
});
afterAll(async () => {
  await cluster?.close();
  await receiver?.close();
});

async function ask<T>(method: string, path: string, sent: Ask = {}): Promise<T> {
  const { status, text } = await cluster.client.send(method, path, sent);
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
  return (text === "" ? {} : JSON.parse(text)) as T;
}
const post = <T = { id: string }>(path: string, body?: unknown): Promise<T> => ask("POST", path, { body });
const makeSecret = (name: string, value: string) => post("/secrets", { namespace: cluster.namespace, name, value });
const makeConfig = (name: string, data: object) =>
  post("/configs", { namespace: cluster.namespace, name, data: JSON.stringify(data) });

const running = (id: string, name: string): Expected => ({ name, id, status: "running", replicas: 1, restarts: 0 });
const reaches = (id: string, status: string) =>
  until(
    () => `${id} is not ${status}`,
    async () => (await cluster.client.deployment(id)).status === status,
  );
const removeAll = async () => {
  for (const { id } of await cluster.client.deployments()) await cluster.client.delete(id);
  await settled(cluster, []);
};
afterEach(removeAll);
const restart = async () => {
  await cluster.noteBoots();
  await Promise.all([cluster.killPlane(), cluster.killAgent("one")]);
  await cluster.startPlane();
  cluster.startAgent("one");
  await cluster.ready("one");
};

/** What the instance has, as digests: an answer that held a value would be found by those who look for it. */
async function digests(id: string, ...words: string[]): Promise<string[]> {
  const command = ["/bin/sh", "-c", words.map((word) => `${word} | sha256sum | cut -c1-64`).join("; ")];
  const { stdout } = await post<ExecResult>(`/deployments/${id}/exec`, { command });
  return stdout.trim().split("\n");
}
const digestOf = (text: string) => createHash("sha256").update(text).digest("hex");

const pathOf = (runtime: TestRuntime, name: string) => (runtime === "docker" ? `/run/given/${name}` : name);
const read = (runtime: TestRuntime, name: string) =>
  `cat ${runtime === "docker" ? `/run/given/${name}` : `"$LAMPLIGHTER_FILES/${name}"`}`;

describe.each(RUNTIMES)("on %s", (runtime) => {
  test("a secret and a config arrive as files and as variables, and are found nowhere else", async () => {
    const { client, namespace } = cluster;
    const [secret, setting, password] = ["secret", "config", "password"].map(
      (what) => `canary-${what}-${randomUUID()}`,
    ) as [string, string, string];
    await makeSecret(`token-${runtime}`, secret);
    const { id: configId } = await makeConfig(`app-${runtime}`, { level: setting, "app.json": `{"x":"${setting}"}` });
    const pull = { username: "u", password };
    const manifest = worker(cluster, runtime, `given-${runtime}`, {
      environment: { TOKEN: { secretRef: `token-${runtime}` }, LEVEL: { configRef: `app-${runtime}`, key: "level" } },
      volumes: [
        { type: "secret", source: `token-${runtime}`, destination: pathOf(runtime, "token") },
        { type: "config", source: `app-${runtime}`, key: "app.json", destination: pathOf(runtime, "app.json") },
      ],
      ...(runtime === "docker" ? { config: { image_pull_policy: "Never", ...pull } } : {}),
    });
    const { id } = await client.apply(manifest, { key: `given-${runtime}` });
    await settled(cluster, [running(id, "given")]);
    const values = [`printf %s "$TOKEN"`, `printf %s "$LEVEL"`, read(runtime, "token"), read(runtime, "app.json")];
    const expected = [secret, setting, secret, `{"x":"${setting}"}`].map(digestOf);
    expect(await digests(id, ...values)).toEqual(expected);

    // Everything that could tell: the same request again, rehearsals, refusals, every view, lists, and a failure that names what it runs.
    await client.apply(manifest, { key: `given-${runtime}` });
    expect((await client.apply(manifest)).id).toBe(id);
    for (const path of ["?dry_run=true", "?dry_run=true&force=true"])
      await client.send("POST", `/deployments${path}`, { body: { ...manifest, replicas: 2 } });
    await client.send("POST", "/deployments", { body: { ...manifest, replicas: "many" } });
    const broken = await client.apply({ ...manifest, name: `broken-${runtime}`, command: ["/no/such/$TOKEN"] });
    await until(
      () => "it does not fail",
      async () => (await client.deployment(broken.id)).restart_count > 0,
    );
    await post("/schedules", {
      name: `each-${runtime}`,
      namespace,
      cron: "0 0 1 1 *",
      job: { ...manifest, name: undefined, namespace: undefined, kind: "job" },
    });
    for (const one of [id, broken.id])
      for (const path of ["", "/events", "/explain", "/logs", "/metrics", "/revisions", "/health-checks"])
        await client.send("GET", `/deployments/${one}${path}`);
    for (const path of ["deployments", "secrets", "volumes", "schedules", "hosts", "audit", "webhooks", "hooks"])
      await client.send("GET", `/${path}`);
    await client.send("GET", `/namespaces/${namespace}/audit`);
    await cluster.killInstance((await cluster.liveOf(id))[0] as never);
    await until(
      () => "its death is not told",
      async () => (await client.deployment(id)).restart_count === 1,
    );
    await client.delete(broken.id);
    await settled(cluster, [{ ...running(id, "given"), restarts: 1 }]);
    await restart();
    await settled(cluster, [{ ...running(id, "given"), restarts: 1 }]);
    expect(await digests(id, ...values)).toEqual(expected);

    const answers = client.answers as string[];
    expect(answers.length).toBeGreaterThan(30);
    for (const canary of [secret, password]) expect(answers.filter((text) => text.includes(canary))).toEqual([]);
    // A config is no secret, but only its own answers hold it.
    for (const text of answers.filter((one) => one.includes(setting))) expect(text).toContain(configId);

    const isMounted = ({ path }: { path: string }) => /^one\/.*\/files\//.test(path);
    const held = cluster.filesWith(secret);
    expect(held.filter((file) => !isMounted(file))).toEqual([]);
    for (const { path, mode } of held) {
      // In a container any user may read it; then the folder lets nobody else of the host through.
      const folder = statSync(join(cluster.folder, dirname(path))).mode;
      expect((mode & 0o077) === 0 || (folder & 0o077) === 0, path).toBe(true);
    }
    expect(cluster.filesWith(password)).toEqual([]);
    const places = cluster.filesWith(setting).filter((file) => !isMounted(file));
    expect(places.filter(({ path }) => !path.startsWith("state/"))).toEqual([]);
    // What is looked for would be found: the name of what holds it is there.
    expect(cluster.filesWith(`given-${runtime}`).length).toBeGreaterThan(0);
    await removeAll();
    expect(cluster.filesWith(secret)).toEqual([]);
  });

  test("what is missing is config_error, over restarts, and heals when it is made", async () => {
    const { client } = cluster;
    const name = `late-${runtime}`;
    const manifest = worker(cluster, runtime, name, {
      environment: { A: { secretRef: name } },
      volumes: [{ type: "config", source: name, key: "k", destination: pathOf(runtime, "k") }],
    });
    const { id } = await client.apply(manifest);
    await reaches(id, "config_error");
    const first = await client.deployment(id);
    expect([first.restart_count, first.message]).toEqual([0, expect.stringContaining(`secret '${name}' is missing`)]);
    expect(first.message).toContain(`config '${name}' is missing`);
    // Applied again, it is another that waits for the same.
    const again = await client.apply(manifest);
    await reaches(again.id, "config_error");
    await restart();
    const secret = await makeSecret(name, "value");
    await until(
      () => "it does not say that only the config is missing",
      async () => !(await client.deployment(again.id)).message.includes("secret"),
    );
    const config = await makeConfig(name, { other: "x" });
    await until(
      () => "it does not say what the config lacks",
      async () => (await client.deployment(again.id)).message.includes("it has no entry 'k'"),
    );
    await ask("PUT", `/configs/${config.id}`, { body: { data: '{"k":"there"}' } });
    await reaches(again.id, "running");
    await settled(cluster, [running(again.id, name)]);
    expect(await digests(again.id, `printf %s "$A"`, read(runtime, "k"))).toEqual(["value", "there"].map(digestOf));

    const refused = await client.send("DELETE", `/secrets/${secret.id}?force=false`);
    expect([refused.status, JSON.parse(refused.text)]).toMatchObject([
      409,
      { code: "still_referenced", deployments: [`${cluster.namespace}/${name}`] },
    ]);
    await ask("DELETE", `/secrets/${secret.id}`);
    // What runs goes on; what dies waits for it.
    expect((await client.deployment(again.id)).status).toBe("running");
    await cluster.killInstance((await cluster.liveOf(again.id))[0] as never);
    await reaches(again.id, "config_error");
    await makeSecret(name, "another");
    await reaches(again.id, "running");
    expect(await digests(again.id, `printf %s "$A"`)).toEqual([digestOf("another")]);
  });

  test("one that has changed rolls with the next apply of the same manifest, and then no more", async () => {
    const { client } = cluster;
    const name = `turn-${runtime}`;
    const { id: secretId } = await makeSecret(name, "one");
    const health_checks = [
      { type: "command", command: "true", interval: "200ms", readiness: true, min_healthy_time: "0s" },
    ];
    const body = worker(cluster, runtime, name, { environment: { A: { secretRef: name } }, health_checks });
    const first = await client.apply(body);
    await settled(cluster, [running(first.id, name)]);
    const action = async () => (await client.send("POST", "/deployments", { body })).headers.get("lamplighter-action");
    expect(await action()).toBe("unchanged");
    await ask("PUT", `/secrets/${secretId}`, { body: { value: "one" } });
    expect(await action()).toBe("unchanged");
    await ask("PUT", `/secrets/${secretId}`, { body: { value: "two" } });
    expect(await digests(first.id, `printf %s "$A"`)).toEqual([digestOf("one")]);
    const would = await client.send("POST", "/deployments?dry_run=true", { body });
    expect(JSON.parse(would.text)).toMatchObject({ action: "roll", changes: [], renewed: [`secret '${name}'`] });
    const rolled = await client.send("POST", "/deployments", { body });
    expect(rolled.headers.get("lamplighter-action")).toBe("roll");
    const { id } = JSON.parse(rolled.text) as DeploymentView;
    await settled(cluster, [running(id, name)]);
    expect(await digests(id, `printf %s "$A"`)).toEqual([digestOf("two")]);
    expect(await action()).toBe("unchanged");
  });
});

test("a named volume is kept over a replacement, and its entry goes only by force while it is mounted", {
  skip: !docker.available,
}, async () => {
  const { client, namespace } = cluster;
  const body = worker(cluster, "docker", "keeper", {
    volumes: [{ type: "volume", source: "data", destination: "/data" }],
  });
  const first = await client.apply(body);
  await settled(cluster, [running(first.id, "keeper")]);
  await post(`/deployments/${first.id}/exec`, { command: ["/bin/sh", "-c", "echo kept > /data/x"] });
  const second = await client.apply({ ...body, environment: { CHANGED: "yes" } });
  expect(second.replaces).toBe(first.id);
  await settled(cluster, [running(second.id, "keeper")]);
  const { stdout } = await post<ExecResult>(`/deployments/${second.id}/exec`, { command: ["cat", "/data/x"] });
  expect(stdout).toBe("kept\n");
  const [volume] = await client.json<{ id: string; registered_by: string }[]>(`/volumes?namespace=${namespace}`);
  expect(volume?.registered_by).toBe("deployment");
  const refused = await client.send("DELETE", `/volumes/${volume?.id}`);
  expect([refused.status, JSON.parse(refused.text)]).toMatchObject([
    409,
    { code: "still_referenced", deployments: [`${namespace}/keeper`] },
  ]);
  await ask("DELETE", `/volumes/${volume?.id}?force=true`);
  await removeAll();
  // Its data is still there, and is nobody's but the host's.
  await cluster.engine?.getVolume(`${namespace}_data`).remove();
});

test("keys are rotated: with the old one taken out, everything that was sealed with it still opens", async () => {
  const { client, namespace } = cluster;
  const values = [randomUUID(), randomUUID()] as const;
  await makeSecret("rotated", values[0]);
  const job = { runtime: "docker", image: "x", config: { server: "r.invalid", username: "u", password: values[1] } };
  const schedule = { name: "rotated", namespace, cron: "0 0 1 1 *", job };
  await post("/schedules", schedule);
  const body = worker(cluster, "process", "rotated", { environment: { A: { secretRef: "rotated" } } });
  const { id } = await client.apply(body);
  await settled(cluster, [running(id, "rotated")]);
  const webhook = await post<{ id: string; secret: string }>("/webhooks", { url: receiver.address("rotated") });
  const hook = await post<{ id: string; secret: string }>("/hooks", {
    namespace,
    deployment: "rotated",
    source: "github",
    image: "x:{sha}",
  });

  const withKeys = async (keys: string) => {
    writeFileSync(secretKeysPath(cluster.folder), `${keys}\n`);
    await restart();
  };
  const older = secretKeys(cluster.folder);
  const newer = newSecretKey("k2");
  await withKeys(`${newer}\n${older}`);
  const reseal = async () => {
    const all = { resealed: 0, left: 0, parts: 0 };
    let cursor: string | null = "";
    while (cursor !== null) {
      const part: ResealReport = await post(`/secrets/reseal${cursor === "" ? "" : `?cursor=${cursor}`}`);
      all.resealed += part.resealed;
      all.left += Object.values(part.left).reduce((sum, one) => sum + one, 0);
      all.parts++;
      cursor = part.next;
    }
    return all;
  };
  const done = await reseal();
  // The secret and its copy with the host, the schedule's password, and what the webhook and the hook sign with.
  expect(done.resealed).toBeGreaterThanOrEqual(5);
  expect(done.left).toBe(0);
  expect(await reseal()).toMatchObject({ resealed: 0, left: 0 });
  await withKeys(newer);

  // The restarted agent was told again; and what dies now is given it again.
  expect(await digests(id, `printf %s "$A"`)).toEqual([digestOf(values[0])]);
  await cluster.killInstance((await cluster.liveOf(id))[0] as never);
  await settled(cluster, [{ ...running(id, "rotated"), restarts: 1 }]);
  expect(await digests(id, `printf %s "$A"`)).toEqual([digestOf(values[0])]);
  const unchanged = await client.send("POST", "/schedules?dry_run=true", { body: schedule });
  expect(JSON.parse(unchanged.text)).toMatchObject({ action: "unchanged" });
  await post(`/webhooks/${webhook.id}/ping`);
  await until(
    () => "the webhook is not sent",
    () => receiver.received("rotated").length > 0,
  );
  for (const { headers, body: text } of receiver.received("rotated"))
    expect(new Webhook(webhook.secret).verify(text, headers as Record<string, string>)).toBeTruthy();
  const ping = JSON.stringify({ zen: "…" });
  const signature = `sha256=${createHmac("sha256", hook.secret).update(ping).digest("hex")}`;
  const called = await fetch(`${cluster.url}/hooks/${hook.id}`, {
    method: "POST",
    body: ping,
    headers: { "content-type": "application/json", "x-github-event": "ping", "x-hub-signature-256": signature },
  });
  expect([called.status, await called.text()]).toEqual([
    expect.toSatisfy((status) => status < 300),
    expect.any(String),
  ]);
});
