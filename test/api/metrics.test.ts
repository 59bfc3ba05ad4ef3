import { env } from "cloudflare:workers";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { DEPLOYMENT_STATUSES } from "../../contract/deployment.ts";
import { EXPOSITION_TYPE, expose, sample } from "../../contract/exposition.ts";
import type { Question } from "../../contract/frame.ts";
import { instanceId, newId } from "../../contract/id.ts";
import { HostNode } from "../../contract/node.ts";
import { RUNTIMES } from "../../contract/workload.ts";
import { shardOf } from "../../objects/projection.ts";
import { SimulatedAgent } from "../objects/simulated-agent.ts";
import { fresh, makeToken, request } from "./client.ts";

/** Reads the text format as strictly as Prometheus does, and more: one HELP and one TYPE before the samples, no sample twice. */
function parse(text: string): Map<string, { type: string; samples: Map<string, number> }> {
  const families = new Map<string, { type: string; samples: Map<string, number> }>();
  let current = "";
  expect(text.endsWith("\n")).toBe(true);
  for (const line of text.slice(0, -1).split("\n")) {
    const help = /^# HELP ([a-z_][a-z0-9_]*) (\S.*)$/.exec(line);
    if (help) {
      current = help[1] as string;
      expect(families.has(current), `${current} twice`).toBe(false);
      families.set(current, { type: "", samples: new Map() });
      continue;
    }
    const type = /^# TYPE ([a-z_][a-z0-9_]*) (gauge|counter|histogram)$/.exec(line);
    const family = families.get(current);
    if (!family) throw new Error(`before any HELP: ${line}`);
    if (type) {
      expect(type[1]).toBe(current);
      family.type = type[2] as string;
      continue;
    }
    const label = '[a-z_][a-z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"';
    const one = new RegExp(`^([a-z_][a-z0-9_]*)(?:\\{(${label}(?:,${label})*)\\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$`).exec(
      line,
    );
    if (!one) throw new Error(`not a sample: ${line}`);
    const part = family.type === "histogram" ? /_(bucket|sum|count)$/.exec(one[1] as string)?.[0] : "";
    expect([one[1], family.type]).toEqual([`${current}${part}`, expect.stringMatching(/gauge|counter|histogram/)]);
    const sample = `${part}${one[2] ?? ""}`;
    expect(family.samples.has(sample), `twice: ${line}`).toBe(false);
    family.samples.set(sample, Number(one[3]));
  }
  return families;
}

const scrape = (token?: string, headers: Record<string, string> = {}) =>
  request("GET", "/metrics", token === undefined ? { headers } : { token, headers });

let agent: SimulatedAgent;
const label = crypto.randomUUID();
const name = fresh("m");
let asked = 0;

beforeAll(async () => {
  agent = await SimulatedAgent.enrol(fresh("metrics"), { test: label });
  agent.answers = answer;
  await agent.connect();
  await vi.waitFor(async () => {
    const made = await request("POST", "/deployments?wait=running&timeout=5s", {
      body: {
        name,
        namespace: "metrics",
        runtime: "podman",
        image: "x",
        replicas: 2,
        placement: { labels: { test: label } },
      },
    });
    expect(made.status, made.text).toBeLessThan(300);
  });
});
afterAll(() => agent.disconnect());
afterEach(() => void vi.useRealTimers());

function answer(question: Question): unknown {
  asked++;
  if (question.verb === "node")
    return {
      hostname: "box",
      os: "Debian",
      arch: "x86_64",
      uptime: "7s",
      cpu_count: 4,
      memory_total: 8,
      memory_available: 4,
      load_average: [0, 0, 0],
    };
  if (question.verb !== "stats") return undefined;
  return question.workload_ids.map((id) => ({
    instance_id: instanceId(id, 1),
    instance_name: id,
    cpu_usage_percent: 1.5,
    memory: { usage_bytes: 1024, limit_bytes: 4096, usage_percent: 25 },
    network: { rx_bytes: 10, tx_bytes: 20, rx_packets: 1, tx_packets: 2 },
    disk_io: { read_bytes: 30, write_bytes: 40 },
    pids: { current: 3, limit: 10 },
  }));
}

it("Ring's series are all there, zero or not, and so are ours", async () => {
  await vi.waitFor(async () => {
    const answered = await scrape();
    expect([answered.status, answered.headers.get("content-type")]).toEqual([200, EXPOSITION_TYPE]);
    const families = parse(answered.text);
    const per = (series: string) =>
      families
        .get(`ring_deployment_${series}`)
        ?.samples.get(`deployment="${name}",namespace="metrics",runtime="podman"`);
    expect(per("instances")).toBe(2);
    expect(per("cpu_usage_percent")).toBe(3);
    expect(per("memory_usage_bytes")).toBe(2048);
    expect(per("memory_limit_bytes")).toBe(8192);
    expect(per("pids")).toBe(6);
    expect(per("network_tx_bytes_total")).toBe(40);
    expect(per("disk_read_bytes_total")).toBe(60);
    expect(per("restarts_total")).toBe(0);
    expect(families.get("ring_deployment_restarts_total")?.type).toBe("counter");
    const words = (family: string, key: string) =>
      [...(families.get(family)?.samples.keys() ?? [])].map((text) => text.slice(key.length + 2, -1));
    expect(words("ring_deployments_by_status", "status")).toEqual([...DEPLOYMENT_STATUSES]);
    expect(words("ring_deployments_by_runtime", "runtime")).toEqual(expect.arrayContaining([...RUNTIMES]));
    expect(words("ring_events_by_status", "status")).toEqual(["pending", "delivered", "dead"]);
    expect(words("ring_health_checks_by_status", "status")).toEqual(["success", "failed", "timeout"]);
    for (const noun of ["namespaces", "secrets", "volumes", "users", "webhooks", "configs"])
      expect(families.get(`ring_${noun}`)?.samples.get(""), noun).toBeGreaterThanOrEqual(0);
    expect(families.get("ring_deployments")?.samples.get("")).toBeGreaterThanOrEqual(1);
    expect(families.get("lamplighter_hosts")?.samples.get('status="ready"')).toBeGreaterThanOrEqual(1);
    // Other tests' agents are silent, and each makes one scrape wait.
  }, 10_000);
});

it("hosts are not asked again while their answer is fresh, and one that does not answer holds nobody up", async () => {
  await vi.waitFor(async () => {
    await scrape();
    expect(asked).toBeGreaterThan(0);
  }, 10_000);
  const before = asked;
  await Promise.all([scrape(), scrape(), scrape()]);
  expect(asked).toBe(before);
  agent.answers = () => undefined;
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 20_000 });
  const from = performance.now();
  const late = parse((await scrape()).text);
  expect(performance.now() - from).toBeLessThan(3_000);
  // What it said before still counts, for a minute.
  const key = `deployment="${name}",namespace="metrics",runtime="podman"`;
  expect(late.get("ring_deployment_instances")?.samples.get(key)).toBe(2);
  agent.answers = answer;
});

it("two versions of one name, as during a rolling update, are one sample", async () => {
  const id = newId("deployment", Date.now());
  const body = JSON.stringify({ id, name, namespace: "metrics", runtime: "podman", restart_count: 4 });
  const row = { kind: "deployment" as const, id, namespace: "metrics", name, status: "creating", type: "worker" };
  await env.INDEX.getByName(shardOf("metrics")).project({
    row: { ...row, labels: {}, passing: false, version: 1, body },
    audits: [],
  });
  const key = `deployment="${name}",namespace="metrics",runtime="podman"`;
  const families = parse((await scrape()).text);
  expect(families.get("ring_deployment_restarts_total")?.samples.get(key)).toBe(4);
  expect(families.get("ring_deployment_instances")?.samples.get(key)).toBe(2);
});

it("JSON has Ring's keys", async () => {
  const { body } = await scrape(undefined, { accept: "application/json" });
  expect(Object.keys(body)).toEqual([
    "deployments",
    "deployments_by_status",
    "deployments_by_runtime",
    "unhealthy_deployments_by_namespace",
    "namespaces",
    "secrets",
    "volumes",
    "users",
    "webhooks",
    "configs",
    "events_by_status",
    "health_checks_by_status",
    "runtime_last_refresh_seconds",
    "deployment_runtime",
  ]);
  const [first] = body.deployment_runtime as Record<string, unknown>[];
  for (const key of ["name", "namespace", "runtime", "instances", "network_rx_bytes", "disk_write_bytes", "restarts"])
    expect(first).toHaveProperty(key);
});

it("needs a token that is for everything, unless who runs it says otherwise", async () => {
  expect((await request("GET", "/metrics", { token: null })).status).toBe(401);
  const viewer = await makeToken(["deployments:read"]);
  expect((await scrape(viewer.token)).status).toBe(200);
  const bound = await makeToken(["deployments:read"], { namespaces: ["metrics"] });
  expect((await scrape(bound.token)).body.code).toBe("namespace_not_permitted");
  expect((await scrape((await makeToken(["hosts:read"])).token)).status).toBe(403);
  const variables = env as unknown as Record<string, string>;
  const before = variables.METRICS_PUBLIC as string;
  variables.METRICS_PUBLIC = "true";
  try {
    expect((await request("GET", "/metrics", { token: null })).status).toBe(200);
  } finally {
    variables.METRICS_PUBLIC = before;
  }
});

it("label values are escaped", () => {
  const text = expose([
    { name: "x", type: "gauge", help: "a\\b\nc", samples: [sample(1, { l: 'q"\\\n' }), sample(Number.NaN)] },
  ]);
  expect(text).toBe('# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{l="q\\"\\\\\\n"} 1\nx NaN\n');
  expect(parse(text).get("x")?.samples.size).toBe(2);
});

it("GET /node/get answers a machine as it is now", async () => {
  const node = await request("GET", `/node/get?host=${agent.id}`);
  expect(HostNode.parse(node.body)).toMatchObject({ hostname: "box", uptime: "7s", host_id: agent.id });
  const none = await request("GET", `/node/get?host=host_${"0".repeat(26)}`);
  expect(none.status).toBe(404);
});
