import { describe, expect, test } from "vitest";
import type { DeploymentStatus } from "../../contract/deployment.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import { sameManifest } from "../../contract/manifest-diff.ts";
import { MANIFEST_RULES } from "../../contract/manifest-rules.ts";
import { parseCpu, parseDuration, parseMemory } from "../../contract/quantity.ts";
import { suggestion } from "../../contract/suggestion.ts";
import { type Active, type Version, verdictOf } from "../../objects/namespace/decide.ts";

const docker = { name: "web", runtime: "docker", image: "nginx" };
const process = { name: "web", runtime: "process", command: ["true"] };

/** Every rule, with a manifest that breaks it and the path that is told. */
const BROKEN: Record<string, [manifest: Record<string, unknown>, path: string]> = {
  "deployment.runtime.unsupported": [{ ...docker, runtime: "lxc" }, "runtime"],
  "deployment.image.required": [{ name: "web", runtime: "docker" }, "image"],
  "deployment.image.process_unsupported": [{ ...process, image: "nginx" }, "image"],
  "deployment.command.required": [{ name: "web", runtime: "process" }, "command"],
  "deployment.volumes.process_unsupported": [
    { ...process, volumes: [{ type: "volume", source: "v", destination: "/v" }] },
    "volumes[0].type",
  ],
  "deployment.network.process_unsupported": [{ ...process, network: { mode: "host" } }, "network"],
  "deployment.volumes.source.required": [
    { ...docker, volumes: [{ type: "volume", source: " ", destination: "/v" }] },
    "volumes[0].source",
  ],
  "deployment.volumes.source.not_absolute": [
    { ...docker, volumes: [{ type: "bind", source: "etc", destination: "/v" }] },
    "volumes[0].source",
  ],
  "deployment.volumes.destination.required": [
    { ...docker, volumes: [{ type: "volume", source: "v", destination: "v" }] },
    "volumes[0].destination",
  ],
  required: [{ ...docker, volumes: [{ type: "config", source: "c", destination: "/c" }] }, "volumes[0].key"],
  empty: [{ ...docker, volumes: [{ type: "config", source: "c", key: " ", destination: "/c" }] }, "volumes[0].key"],
  unexpected_field: [
    { ...docker, volumes: [{ type: "secret", source: "s", key: "k", destination: "/s" }] },
    "volumes[0].key",
  ],
  invalid_permission: [
    { ...docker, volumes: [{ type: "secret", source: "s", destination: "/s", permission: "rw" }] },
    "volumes[0].permission",
  ],
  "deployment.volumes.destination.not_relative": [
    { ...process, volumes: [{ type: "secret", source: "s", destination: "../s" }] },
    "volumes[0].destination",
  ],
  "deployment.volumes.destination.duplicate": [
    {
      ...docker,
      volumes: [
        { type: "volume", source: "v", destination: "/v" },
        { type: "secret", source: "s", destination: "/v" },
      ],
    },
    "volumes[1].destination",
  ],
  "deployment.ports.host_network_conflict": [
    { ...docker, network: { mode: "host" }, ports: [{ published: 80, target: 80 }] },
    "ports",
  ],
  "deployment.replicas.host_network_conflict": [{ ...docker, network: { mode: "host" }, replicas: 2 }, "replicas"],
  "deployment.ports.published.out_of_range": [
    { ...docker, ports: [{ published: 0, target: 80 }] },
    "ports[0].published",
  ],
  "deployment.ports.target.out_of_range": [{ ...docker, ports: [{ published: 80, target: 70000 }] }, "ports[0].target"],
  "deployment.ports.host_ip.invalid": [
    { ...docker, ports: [{ published: 80, target: 80, host_ip: "localhost" }] },
    "ports[0].host_ip",
  ],
  "deployment.ports.published.duplicate": [
    {
      ...docker,
      ports: [
        { published: 80, target: 80 },
        { published: 80, target: 81, host_ip: "10.0.0.1" },
      ],
    },
    "ports[1].published",
  ],
  "deployment.ports.replicas_conflict": [{ ...docker, ports: [{ published: 80, target: 80 }], replicas: 2 }, "ports"],
  "deployment.replicas.ports_conflict": [
    { ...docker, ports: [{ published: 80, target: 80 }], replicas: 2 },
    "replicas",
  ],
  "deployment.volumes.shared_rw_replicas": [
    { ...docker, replicas: 2, volumes: [{ type: "volume", source: "v", destination: "/v" }] },
    "volumes[0].permission",
  ],
  "deployment.replicas.job_must_be_one": [{ ...docker, kind: "job", replicas: 2 }, "replicas"],
  "deployment.environment.key.invalid": [{ ...docker, environment: { "1BAD": "x" } }, "environment.1BAD"],
  "deployment.environment.reference.empty": [
    { ...docker, environment: { A: { configRef: "c", key: "" } } },
    "environment.A",
  ],
  "deployment.resources.limits.cpu.invalid": [
    { ...docker, resources: { limits: { cpu: "lots" } } },
    "resources.limits.cpu",
  ],
  "deployment.resources.limits.memory.invalid": [
    { ...docker, resources: { limits: { memory: "12 MB" } } },
    "resources.limits.memory",
  ],
  "deployment.resources.requests.cpu.invalid": [
    { ...docker, resources: { requests: { cpu: "-1" } } },
    "resources.requests.cpu",
  ],
  "deployment.resources.requests.memory.invalid": [
    { ...docker, resources: { requests: { memory: "0" } } },
    "resources.requests.memory",
  ],
  "deployment.config.image_pull_policy.unsupported": [
    { ...docker, config: { image_pull_policy: "Sometimes" } },
    "config.image_pull_policy",
  ],
  "deployment.config.credentials.incomplete": [{ ...docker, config: { username: "u" } }, "config"],
  "deployment.config.use_host_auth.conflict": [
    { ...docker, config: { use_host_auth: true, username: "u", password: "p" } },
    "config.use_host_auth",
  ],
  "deployment.config.image_pull_secret.conflict": [
    { ...docker, config: { image_pull_secret: "pull", use_host_auth: true } },
    "config.image_pull_secret",
  ],
  "deployment.config.image_pull_secret.empty": [
    { ...docker, config: { image_pull_secret: " " } },
    "config.image_pull_secret",
  ],
  "deployment.config.credentials.process_unsupported": [
    { ...process, config: { image_pull_secret: "pull" } },
    "config",
  ],
  "deployment.stop_timeout.invalid": [{ ...docker, stop_timeout: "soon" }, "stop_timeout"],
  ...Object.fromEntries(
    ["interval", "timeout", "min_healthy_time", "start_period"].map((field) => [
      `deployment.health_checks.${field}.invalid`,
      [{ ...docker, health_checks: [{ type: "tcp", port: 80, [field]: "2h" }] }, `health_checks[0].${field}`],
    ]),
  ),
  "deployment.health_checks.url.invalid": [
    { ...docker, health_checks: [{ type: "http", url: "localhost/health" }] },
    "health_checks[0].url",
  ],
  "deployment.health_checks.command.invalid": [
    { ...docker, health_checks: [{ type: "command", command: "test 'open" }] },
    "health_checks[0].command",
  ],
  "deployment.health_checks.host_network_unsupported": [
    { ...docker, network: { mode: "host" }, health_checks: [{ type: "http", url: "http://localhost/health" }] },
    "health_checks[0].url",
  ],
  "deployment.health_checks.job_readiness_unsupported": [
    { ...docker, kind: "job", health_checks: [{ type: "tcp", port: 80, readiness: true }] },
    "health_checks[0].readiness",
  ],
  "deployment.autoscale.invalid": [{ ...docker, autoscale: { min: 3, max: 2, target_cpu: 50 } }, "autoscale.max"],
  "deployment.autoscale.job_unsupported": [
    { ...docker, kind: "job", autoscale: { min: 1, max: 2, target_cpu: 50 } },
    "autoscale",
  ],
  "deployment.autoscale.host_network_conflict": [
    { ...docker, network: { mode: "host" }, autoscale: { min: 1, max: 2, target_cpu: 50 } },
    "autoscale",
  ],
  "deployment.autoscale.ports_conflict": [
    { ...docker, ports: [{ published: 80, target: 80 }], autoscale: { min: 1, max: 2, target_cpu: 50 } },
    "autoscale.max",
  ],
  "deployment.max_surge.stuck": [{ ...docker, max_surge: 0 }, "max_surge"],
  "deployment.rollout_deadline.invalid": [{ ...docker, rollout_deadline: "0s" }, "rollout_deadline"],
  "deployment.retries.worker_unsupported": [{ ...docker, retries: 1 }, "retries"],
  "deployment.deadline.worker_unsupported": [{ ...docker, deadline: "1h" }, "deadline"],
  "deployment.ttl_after_finished.worker_unsupported": [{ ...docker, ttl_after_finished: "1h" }, "ttl_after_finished"],
  "deployment.deadline.invalid": [{ ...docker, kind: "job", deadline: "0s" }, "deadline"],
  "deployment.ttl_after_finished.invalid": [
    { ...docker, kind: "job", ttl_after_finished: "later" },
    "ttl_after_finished",
  ],
  "deployment.labels.reserved": [{ ...docker, labels: { ring_deployment: "x" } }, "labels.ring_deployment"],
};

describe("manifest rules", () => {
  test.each(MANIFEST_RULES.map(({ code }) => [code]))("%s", (code) => {
    const broken = BROKEN[code];
    if (!broken) throw new Error(`no manifest here breaks ${code}`);
    const result = checkManifest(broken[0]);
    expect(result.ok ? [] : result.violations).toContainEqual({
      code,
      property_path: broken[1],
      message: expect.stringMatching(/\S/),
    });
  });

  test("valid ones pass, with their defaults", () => {
    for (const body of [docker, process]) {
      const result = checkManifest(body);
      expect(result).toMatchObject({
        ok: true,
        manifest: { namespace: "default", kind: "worker", replicas: 1, stop_timeout: "10s" },
      });
    }
  });

  test("types, unknown fields and rules are told at once", () => {
    const result = checkManifest({
      ...docker,
      replica: 3,
      replicas: "two",
      ports: [{ published: 0, target: 80, protcol: "tcp" }],
      kind: "cron",
      health_checks: [{ type: "ping", interval: "soon" }],
    });
    expect(
      result.ok ? [] : result.violations.map(({ property_path, code, message }) => [property_path, code, message]),
    ).toEqual(
      expect.arrayContaining([
        ["replica", "unknown_field", 'unknown field; did you mean "replicas"?'],
        ["replicas", "invalid_type", expect.stringContaining("expected number")],
        ["ports[0].protcol", "unknown_field", 'unknown field; did you mean "protocol"?'],
        ["kind", "invalid_value", expect.stringContaining("worker")],
        ["health_checks[0].type", "invalid_union", expect.any(String)],
      ]),
    );
  });

  test.each([[null], [[]], ["x"], [3]])("a body of %j is refused whole", (body) => {
    expect(checkManifest(body)).toMatchObject({ ok: false, violations: [{ property_path: "" }] });
  });

  test("a missing name is required, not a type error", () => {
    expect(checkManifest({ runtime: "process", command: ["true"] })).toEqual({
      ok: false,
      violations: [{ property_path: "name", message: "required", code: "required" }],
    });
  });
});

test.each([
  ["replica", ["replicas", "runtime"], '; did you mean "replicas"?'],
  ["iamge", ["image", "name"], '; did you mean "image"?'],
  ["zzz", ["image", "name"], ""],
])("the nearest name to %s", (word, known, text) => expect(suggestion(word, known)).toBe(text));

test("quantities", () => {
  expect([parseCpu("500m"), parseCpu("0.5"), parseCpu("2"), parseCpu("0"), parseCpu("x")]).toEqual([
    500,
    500,
    2000,
    null,
    null,
  ]);
  expect([
    parseMemory("128Mi"),
    parseMemory("1.5G"),
    parseMemory("1024"),
    parseMemory("1 Mi"),
    parseMemory(""),
  ]).toEqual([134217728, 1.5e9, 1024, null, null]);
  expect([parseDuration("500ms"), parseDuration("10s"), parseDuration("5m"), parseDuration("10")]).toEqual([
    500,
    10_000,
    300_000,
    null,
  ]);
});

describe("applying", () => {
  const parse = (body: object) => {
    const result = checkManifest(body);
    if (!result.ok) throw new Error(JSON.stringify(result.violations));
    return result.manifest;
  };
  const manifest = parse({ ...docker, labels: { a: "1", b: "2" } });
  const active = (status: DeploymentStatus, ready = 1, parents: Version[] = []): Active =>
    status === "deleted"
      ? { id: "dep", status, manifest: null, revision: 0 }
      : {
          id: "dep",
          status,
          manifest,
          revision: 1,
          report: { instances: [{ id: "i", slot: 0, ready: ready > 0 }], leaving: 0, established: ready > 0 },
          parents,
          autoscaled: null,
        };
  test.each([
    ["pending", "unchanged"],
    ["creating", "unchanged"],
    ["running", "unchanged"],
    ["completed", "replace"],
    ["failed", "replace"],
    ["crash_loop_back_off", "replace"],
    ["insufficient_resources", "replace"],
    ["image_pull_back_off", "replace"],
    ["error", "replace"],
    ["deleted", "create"],
  ] as const)("the same manifest to a %s deployment: %s", (status, action) => {
    expect(verdictOf(manifest, active(status)).action).toBe(action);
  });
  test("none creates", () => expect(verdictOf(manifest, null)).toEqual({ action: "create" }));
  const checked = { ...docker, health_checks: [{ type: "tcp", port: 80 }] };
  const other = {
    id: "dep_before",
    report: { instances: [{ id: "i", slot: 0, ready: true }], leaving: 0, established: true },
  };
  test.each([
    ["without a health check", { image: "nginx:2" }, docker, active("running"), "replace"],
    ["with one, of what serves", { image: "nginx:2" }, checked, active("running"), "roll"],
    ["with one, of what does not serve", { image: "nginx:2" }, checked, active("creating", 0), "replace"],
    [
      "with one, of what was taking over from what serves",
      { image: "nginx:2" },
      checked,
      active("creating", 0, [other]),
      "roll",
    ],
    ["with one, of what has failed but serves", { image: "nginx:2" }, checked, active("image_pull_back_off"), "roll"],
    ["of replicas only", { replicas: 3 }, docker, active("running"), "amend"],
    ["of replicas and surge", { replicas: 3, max_surge: 2 }, docker, active("creating", 0), "amend"],
    ["of replicas and image", { replicas: 3, image: "nginx:2" }, docker, active("running"), "replace"],
    ["of replicas of what is stuck", { replicas: 3 }, docker, active("error", 0), "replace"],
    ["of kind", { kind: "job" }, docker, active("running"), "replace"],
  ] as const)("a change %s", (_what, change, base, holder, action) => {
    const before = { ...holder, manifest: parse({ ...base }) };
    const verdict = verdictOf(parse({ ...base, ...change }), before as Active);
    expect(verdict.action).toBe(action);
    if (verdict.action === "roll") {
      // Whoever serves is rolled from; whoever does not goes at once.
      const versions = [...verdict.parents.map(({ id }) => id), ...verdict.dropped];
      expect(versions.sort()).toEqual(
        ["dep", ...("parents" in holder ? holder.parents.map(({ id }) => id) : [])].sort(),
      );
    }
    expect(verdictOf(parse({ ...base, ...change }), before as Active, { force: true }).action).toBe("replace");
  });
  test("a renewed secret rolls the same manifest", () => {
    const same = parse(checked);
    expect(verdictOf(same, { ...active("running"), manifest: same } as Active, { renewed: true }).action).toBe("roll");
  });
  test("the order of free-form keys does not count", () => {
    expect(sameManifest(manifest, parse({ ...docker, labels: { b: "2", a: "1" } }))).toBe(true);
    expect(sameManifest(manifest, parse({ ...docker, labels: { a: "1", b: "3" } }))).toBe(false);
  });
});
