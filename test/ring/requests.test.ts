// Every request that Ring's command line and its dashboard send, one by one: what is sent, the status that is expected, and what is decoded of the
// answer. Then what they are told when something is wrong, and Ring's whole catalogue of routes.
import { exports } from "cloudflare:workers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { ScopeName } from "../../contract/scope.ts";
import type { InstanceStats, LogLine } from "../../contract/workload.ts";
import { ROUTES } from "../../src/api/routes.ts";
import { fresh, request } from "../api/client.ts";
import { running, SimulatedAgent } from "../objects/simulated-agent.ts";
import { CATALOGUE } from "./catalogue.ts";
import { deploymentBody } from "./client.ts";
import * as shape from "./shapes.ts";

type Fields = Record<string, unknown>;
/** What earlier answers said, by the name under which it was kept. */
const seen: Record<string, string> = {};

const short = (stem: string) => fresh(stem).slice(0, 40);
const space = short("ring");
const username = short("ring");
const PASSWORD = "changeme-changeme";
let agent: SimulatedAgent;

beforeAll(async () => {
  agent = await SimulatedAgent.enrol(fresh("ring"), { ring: space });
  agent.behaviour = (workload) => ({ ...running(workload), address: "172.18.0.3" }) as never;
  agent.answers = (question) => {
    if (question.verb === "node") return NODE;
    if (question.verb === "stats") return question.workload_ids.map(statsOf);
    if (question.verb === "logs") return [lineOf(question.query.workload_id)];
    return undefined;
  };
  await agent.connect();
  seen.host = agent.id;
  await request("POST", "/users", { body: { username, password: PASSWORD, role: "admin" } });
});
afterAll(() => agent.disconnect());

const NODE = {
  hostname: "h",
  os: "Ubuntu 24.04",
  arch: "x86_64",
  uptime: "1234s",
  cpu_count: 8,
  memory_total: 31.2,
  memory_available: 20.1,
  load_average: [0.1, 0.2, 0.3],
};
const statsOf = (workload: string): InstanceStats => ({
  instance_id: `${workload}-g1`,
  instance_name: "web",
  cpu_usage_percent: 1.5,
  memory: { usage_bytes: 1, limit_bytes: 2, usage_percent: 50 },
  network: { rx_bytes: 1, tx_bytes: 1, rx_packets: 1, tx_packets: 1 },
  disk_io: { read_bytes: 1, write_bytes: 1 },
  pids: { current: 1, limit: 0 },
});
const lineOf = (workload: string): LogLine => ({
  instance: `${workload}-g1`,
  stream: "stdout",
  message: "hello",
  level: "info",
  timestamp: "2026-07-04T10:00:00.000Z",
});

const MANIFEST = {
  ...deploymentBody({
    name: "web",
    namespace: space,
    runtime: "podman",
    image: "nginx:alpine",
    replicas: 1,
    labels: [{ env: "prod" }],
    environment: { LOG: "debug", DB: { secretRef: "db-password" } },
    volumes: [
      { type: "volume", source: "uploads", destination: "/uploads" },
      { type: "config", source: "app", key: "app.conf", destination: "/etc/app.conf" },
      { type: "secret", source: "db-password", destination: "/run/db-password" },
    ],
    health_checks: [{ type: "tcp", port: 80, interval: "10s", timeout: "5s", on_failure: "restart" }],
    resources: { limits: { cpu: "500m", memory: "128Mi" } },
    config: { image_pull_policy: "IfNotPresent" },
    network: { mode: "bridge" },
  }),
  // Ring has no such field: other test files leave hosts behind that answer nobody.
  placement: { labels: { ring: space } },
};

const Empty = z.literal("");
const list = <T extends z.ZodType>(type: T) => type.array().min(1);
/** Of a list of everything: the file's project shares its control plane with tests that put strange things into lists. */
const ours = <T extends z.ZodType>(type: T) =>
  z
    .array(z.looseObject({ namespace: z.string() }))
    .transform((rows): unknown => rows.filter(({ namespace }) => namespace === space))
    .pipe(list(type) as z.ZodType);
const filled = (text: string) => text.replaceAll(/<(\w+)>/g, (_, name: string) => seen[name] ?? `<${name}>`);

type Request = {
  /** What is typed, or where it is clicked. */
  by: string;
  method: string;
  path: string;
  body?: Fields;
  status: number;
  answer: z.ZodType;
  /** Kept of the answer: the member, and the name that later requests have for it. */
  keep?: [member: string, as: string];
  /** Asked again until it decodes: the list is told of it a moment later. */
  late?: boolean;
};
const Login = z.object({ token: z.string() });
const Ticket = z.object({ ticket: z.string().regex(/^tk_stream_[0-9A-Za-z]{48}$/), expires_in: z.literal(30) });
const data = JSON.stringify({ "app.conf": "a=1" });
const hook = { url: "https://127.0.0.1:9/hook", events: ["deployment.status_changed"], secret: "a-shared-secret-01" };

// biome-ignore format: a table
const REQUESTS: Request[] = [
  { by: "login", method: "POST", path: "/login", body: { username, password: PASSWORD }, status: 200, answer: Login, keep: ["token", "token"] },
  { by: "dashboard: who I am", method: "GET", path: "/users/me", status: 200, answer: shape.User, keep: ["id", "me"] },
  { by: "namespace create", method: "POST", path: "/namespaces", body: { name: space }, status: 201, answer: shape.Namespace, keep: ["id", "namespace"] },
  { by: "namespace list", method: "GET", path: "/namespaces", status: 200, answer: list(shape.Namespace) },
  { by: "dashboard: a namespace", method: "GET", path: "/namespaces/<namespace>", status: 200, answer: shape.Namespace },
  { by: "apply: a namespace that is there", method: "POST", path: "/namespaces", body: { name: space }, status: 409, answer: shape.Problem },
  { by: "secret create", method: "POST", path: "/secrets", body: { namespace: space, name: "db-password", value: "s3cret" }, status: 201, answer: shape.Secret, keep: ["id", "secret"] },
  { by: "secret list", method: "GET", path: `/secrets?namespace=${space}`, status: 200, answer: list(shape.Secret), late: true },
  { by: "secret list -n, as e2e", method: "GET", path: `/secrets?namespace[]=${space}`, status: 200, answer: list(shape.Secret) },
  { by: "dashboard: a secret", method: "GET", path: "/secrets/<secret>", status: 200, answer: shape.Secret },
  { by: "apply: a config", method: "POST", path: "/configs", body: { namespace: space, name: "app", data, labels: "" }, status: 201, answer: shape.Config, keep: ["id", "config"] },
  { by: "apply: a config that is there", method: "POST", path: "/configs", body: { namespace: space, name: "app", data, labels: "" }, status: 409, answer: shape.Problem },
  { by: "apply: look it up", method: "GET", path: `/configs?namespace[]=${space}&name[]=app`, status: 200, answer: list(shape.Config), late: true },
  { by: "apply: put it anew", method: "PUT", path: "/configs/<config>", body: { name: "app", data, labels: "" }, status: 200, answer: shape.Config },
  { by: "config list -n", method: "GET", path: `/configs?namespace=${space}`, status: 200, answer: list(shape.Config) },
  { by: "config inspect", method: "GET", path: "/configs/<config>", status: 200, answer: shape.Config },
  { by: "volume by hand", method: "POST", path: "/volumes", body: { namespace: space, name: "kept", size: "1Gi", labels: { a: "b" } }, status: 201, answer: shape.VolumeCreated, keep: ["id", "volume"] },
  { by: "dashboard: volumes", method: "GET", path: `/volumes?namespace[]=${space}`, status: 200, answer: list(shape.Volume), late: true },
  { by: "dashboard: a volume", method: "GET", path: "/volumes/<volume>", status: 200, answer: shape.Volume },
  { by: "apply", method: "POST", path: "/deployments", body: MANIFEST, status: 201, answer: shape.Deployment, keep: ["id", "first"] },
  { by: "apply --force", method: "POST", path: "/deployments?force=true", body: MANIFEST, status: 201, answer: shape.Deployment, keep: ["id", "deployment"] },
  { by: "deployment list", method: "GET", path: "/deployments", status: 200, answer: ours(shape.Deployment), late: true },
  { by: "deployment list -n -s --type -l", method: "GET", path: `/deployments?namespace=${space}&status=running&kind=worker&label=env=prod&label=env`, status: 200, answer: list(shape.Deployment), late: true },
  { by: "deployment list, as e2e", method: "GET", path: `/deployments?namespace[]=${space}&status[]=running&status[]=failed&kind[]=worker&label[]=env`, status: 200, answer: list(shape.Deployment) },
  { by: "dashboard: with addresses", method: "GET", path: `/deployments?namespace=${space}&instances=1`, status: 200, answer: list(shape.Deployment) },
  { by: "deployment inspect", method: "GET", path: "/deployments/<deployment>", status: 200, answer: shape.Deployment },
  { by: "deployment events", method: "GET", path: "/deployments/<deployment>/events?limit=50", status: 200, answer: list(shape.Event) },
  { by: "deployment events -l", method: "GET", path: "/deployments/<deployment>/events?level=warning&limit=50", status: 200, answer: list(shape.Event) },
  { by: "deployment health-checks", method: "GET", path: "/deployments/<deployment>/health-checks?limit=100", status: 200, answer: shape.HealthCheckResult.array() },
  { by: "deployment health-checks --latest", method: "GET", path: "/deployments/<deployment>/health-checks?latest=true", status: 200, answer: shape.HealthCheckResult.array() },
  { by: "deployment metrics", method: "GET", path: "/deployments/<deployment>/metrics", status: 200, answer: shape.Metrics },
  { by: "deployment logs", method: "GET", path: "/deployments/<deployment>/logs?tail=100", status: 200, answer: list(shape.LogLine) },
  { by: "deployment logs --since -c", method: "GET", path: "/deployments/<deployment>/logs?tail=5&since=10m&container=<deployment>", status: 200, answer: list(shape.LogLine) },
  { by: "deployment logs of nothing", method: "GET", path: "/deployments/0b0f3a9e-0000-4000-8000-000000000000/logs", status: 200, answer: shape.LogLine.array().max(0) },
  { by: "dashboard: a stream", method: "POST", path: "/auth/stream-ticket", body: { scope: "deployment:logs:<deployment>" }, status: 200, answer: Ticket },
  { by: "node get", method: "GET", path: "/node/get?host=<host>", status: 200, answer: shape.Node },
  { by: "token create", method: "POST", path: "/tokens", body: { name: "ci", scopes: ["deployments:read"], namespaces: [space], expire_at: null }, status: 201, answer: shape.TokenCreated, keep: ["id", "pat"] },
  { by: "token create -e", method: "POST", path: "/tokens", body: { name: "session", scopes: ["admin"], namespaces: [], expire_at: "2099-01-01T00:00:00+00:00" }, status: 201, answer: shape.TokenCreated, keep: ["id", "admin"] },
  { by: "token list", method: "GET", path: "/tokens", status: 200, answer: list(shape.Token), late: true },
  { by: "dashboard: a token", method: "GET", path: "/tokens/<pat>", status: 200, answer: shape.Token },
  { by: "token rotate", method: "POST", path: "/tokens/<pat>/rotate", status: 201, answer: shape.TokenCreated, keep: ["id", "rotated"] },
  { by: "token revoke", method: "DELETE", path: "/tokens/<rotated>", status: 204, answer: Empty },
  { by: "user create", method: "POST", path: "/users", body: { username: `${username}2`.slice(0, 50), password: "a long password" }, status: 201, answer: shape.User, keep: ["id", "user"] },
  { by: "user list", method: "GET", path: "/users", status: 200, answer: list(shape.User), late: true },
  { by: "user update", method: "PUT", path: "/users/<me>", body: { username: `${username}3`.slice(0, 50), password: "another long password" }, status: 200, answer: z.unknown() },
  { by: "dashboard: a role", method: "PUT", path: "/users/<user>", body: { role: "operator" }, status: 200, answer: z.unknown() },
  { by: "user delete", method: "DELETE", path: "/users/<user>", status: 204, answer: Empty },
  { by: "webhook create", method: "POST", path: "/webhooks", body: hook, status: 201, answer: shape.WebhookCreated, keep: ["id", "webhook"] },
  { by: "webhook create, of everything", method: "POST", path: "/webhooks", body: { url: hook.url, events: [], secret: null }, status: 201, answer: shape.WebhookCreated, keep: ["id", "everything"] },
  { by: "webhook list", method: "GET", path: "/webhooks", status: 200, answer: list(shape.Webhook), late: true },
  { by: "webhook inspect", method: "GET", path: "/webhooks/<webhook>/events", status: 200, answer: shape.WebhookEvent.array() },
  { by: "webhook delete", method: "DELETE", path: "/webhooks/<webhook>", status: 204, answer: Empty },
  { by: "webhook delete, the other", method: "DELETE", path: "/webhooks/<everything>", status: 204, answer: Empty },
  { by: "deployment delete", method: "DELETE", path: "/deployments/<deployment>", status: 204, answer: Empty },
  { by: "secret delete -f", method: "DELETE", path: "/secrets/<secret>?force=true", status: 204, answer: Empty },
  { by: "config delete", method: "DELETE", path: "/configs/<config>", status: 204, answer: Empty },
  { by: "volume by hand, away", method: "DELETE", path: "/volumes/<volume>?force=true", status: 204, answer: Empty },
  { by: "namespace audit", method: "GET", path: `/namespaces/${space}/audit?limit=100`, status: 200, answer: list(shape.AuditEntry), late: true },
  { by: "namespace delete", method: "DELETE", path: `/namespaces/${space}`, status: 204, answer: Empty, late: true },
  { by: "the health of the server", method: "GET", path: "/healthz", status: 200, answer: z.object({ state: z.literal("UP") }) },
  { by: "logout", method: "POST", path: "/logout", status: 204, answer: Empty },
  { by: "logout, again", method: "POST", path: "/logout", status: 401, answer: z.object({ error: z.literal("Invalid token") }) },
];

async function send(method: string, path: string, body?: Fields | string, token: string | null = seen.token ?? null) {
  const text = typeof body === "string" || body === undefined ? body : filled(JSON.stringify(body));
  const response = await exports.default.fetch(`http://ring${filled(path)}`, {
    method,
    headers: {
      accept: "*/*",
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(text === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(text === undefined ? {} : { body: text }),
  });
  return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
}
type Answer = Awaited<ReturnType<typeof send>>;
const decoded = ({ text }: Answer): unknown => (text === "" ? "" : JSON.parse(text));

describe("a request of Ring's clients", () => {
  test.each(REQUESTS)("$by: $method $path", async ({ method, path, body, status, answer, keep, late }) => {
    const fits = (got: Answer) => got.status === status && answer.safeParse(decoded(got)).success;
    let got = await send(method, path, body);
    for (let left = late ? 1500 : 0; left > 0 && !fits(got); left--) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      got = await send(method, path, body);
    }
    expect([got.status, status === got.status ? "" : got.text]).toEqual([status, ""]);
    const value = answer.parse(decoded(got)) as Fields;
    // Scripts around Ring read its answers with grep and sed.
    if (got.text !== "") expect(got.text).toBe(JSON.stringify(JSON.parse(got.text)));
    if (keep) seen[keep[1]] = value[keep[0]] as string;
  });
});

const RING_NOUNS = ["deployments", "secrets", "configs", "namespaces", "volumes", "users", "webhooks"] as const;

/** What is wrong, and which members of the answer Ring's clients and scripts look at. */
type Wrong = {
  what: string;
  method: string;
  path: string;
  body?: Fields | string;
  /** Which token it comes with: that of a user, or the name of another one. */
  token?: string | null;
  status: number;
  members: Fields;
};
const bad = (more: Fields) => ({ ...MANIFEST, ...more });
const violations = (...pairs: [property_path: string, code: string][]) => ({
  title: "Validation failed",
  status: 422,
  violations: expect.arrayContaining(
    pairs.map(([property_path, code]) => expect.objectContaining({ property_path, code })),
  ),
});
const NOBODY = "0b0f3a9e-0000-4000-8000-000000000000";

// biome-ignore format: a table
const WRONG: Wrong[] = [
  { what: "no token", method: "GET", path: "/deployments", token: null, status: 401, members: { error: "Invalid token" } },
  { what: "an unknown token", method: "GET", path: "/users", token: `ring_pat_${"0".repeat(64)}`, status: 401, members: { error: "Invalid token" } },
  { what: "a wrong password", method: "POST", path: "/login", body: { username, password: "wrong-password" }, token: null, status: 401, members: { status: 401 } },
  { what: "a scope that is missing", method: "POST", path: "/deployments", body: MANIFEST, token: "narrow", status: 403, members: { error: "token lacks required scope 'deployments:write'" } },
  { what: "another namespace", method: "POST", path: "/configs", body: { namespace: "other", name: "a", data: "b" }, token: "narrow", status: 403, members: { error: "token is not scoped to namespace 'other'" } },
  { what: "an unknown path, without a token", method: "GET", path: "/nothing", token: null, status: 404, members: {} },
  { what: "a wrong method", method: "PUT", path: "/deployments", status: 405, members: {} },
  { what: "broken JSON", method: "POST", path: "/deployments", body: "{", status: 400, members: {} },
  { what: "a field that is missing", method: "POST", path: "/deployments", body: { name: "web" }, status: 422, members: violations() },
  { what: "a kind that nobody knows", method: "POST", path: "/deployments", body: bad({ kind: "cron" }), status: 422, members: { violations: [expect.objectContaining({ property_path: "kind" })] } },
  { what: "all that can be wrong with a manifest, at once", method: "POST", path: "/deployments", status: 422,
    body: bad({ runtime: "rkt", ports: [{ published: 0, target: 0, host_ip: "x", protocol: "tcp" }], environment: { "1A": "b" }, resources: { limits: { cpu: "many" } } }),
    members: violations(["runtime", "deployment.runtime.unsupported"], ["ports[0].published", "deployment.ports.published.out_of_range"],
      ["ports[0].target", "deployment.ports.target.out_of_range"], ["ports[0].host_ip", "deployment.ports.host_ip.invalid"],
      ["environment.1A", "deployment.environment.key.invalid"], ["resources.limits.cpu", "deployment.resources.limits.cpu.invalid"]) },
  { what: "a job with two replicas", method: "POST", path: "/deployments", body: bad({ kind: "job", replicas: 2, health_checks: [] }), status: 422, members: violations(["replicas", "deployment.replicas.job_must_be_one"]) },
  { what: "a deployment that is not there", method: "GET", path: `/deployments/${NOBODY}`, status: 404, members: {} },
  { what: "to delete it", method: "DELETE", path: `/deployments/${NOBODY}`, status: 404, members: {} },
  { what: "its events", method: "GET", path: `/deployments/${NOBODY}/events`, status: 404, members: { error: "Deployment not found" } },
  { what: "its health checks", method: "GET", path: `/deployments/${NOBODY}/health-checks`, status: 404, members: { message: "Deployment not found" } },
  { what: "its metrics", method: "GET", path: `/deployments/${NOBODY}/metrics`, status: 404, members: {} },
  { what: "a ticket for nothing", method: "POST", path: "/auth/stream-ticket", body: { scope: "" }, status: 422, members: { error: "scope is required" } },
  { what: "a bad name of a namespace", method: "POST", path: "/namespaces", body: { name: "_" }, status: 422, members: violations(["name", "namespace.name.length"], ["name", "namespace.name.format"]) },
  { what: "a namespace that is there", method: "POST", path: "/namespaces", body: { name: "<space>" }, status: 409, members: { status: 409 } },
  { what: "a namespace that is not", method: "DELETE", path: "/namespaces/not-there", status: 404, members: {} },
  { what: "a namespace with something in it", method: "DELETE", path: "/namespaces/<space>", status: 409, members: { error: "namespace is not empty", remaining: 1, hint: expect.any(String) } },
  { what: "a bad config", method: "POST", path: "/configs", body: { namespace: "_", name: "_", data: "" }, status: 422,
    members: violations(["namespace", "config.namespace.format"], ["name", "config.name.format"], ["data", "config.data.length"]) },
  { what: "a config that is not there", method: "GET", path: `/configs/${NOBODY}`, status: 404, members: {} },
  { what: "to put it anew", method: "PUT", path: `/configs/${NOBODY}`, body: { name: "a", data: "{}" }, status: 404, members: {} },
  { what: "data that is not JSON", method: "PUT", path: "/configs/<kept>", body: { name: "kept", data: "{" }, status: 422, members: violations(["data", "config.data.invalid_json"]) },
  { what: "a bad secret", method: "POST", path: "/secrets", body: { namespace: "<space>", name: "_", value: "" }, status: 422,
    members: violations(["name", "secret.name.format"], ["value", "secret.value.length"]) },
  { what: "a secret in no namespace", method: "POST", path: "/secrets", body: { namespace: "not-there", name: "ab", value: "v" }, status: 404, members: { detail: expect.stringContaining("namespace 'not-there' does not exist") } },
  { what: "a secret that is not there", method: "GET", path: `/secrets/${NOBODY}`, status: 404, members: { error: "Secret not found" } },
  { what: "to delete it", method: "DELETE", path: `/secrets/${NOBODY}`, status: 404, members: { error: "Secret not found" } },
  { what: "a volume that is not there", method: "DELETE", path: `/volumes/${NOBODY}`, status: 404, members: { error: "Volume not found" } },
  { what: "a bad token", method: "POST", path: "/tokens", body: { name: "-", scopes: ["deployments:fly"], expire_at: "soon" }, status: 422,
    members: violations(["name", "token.name.format"], ["scopes[0]", "token.scopes.unknown"], ["expire_at", "token.expire_at.format"]) },
  { what: "a token without scopes", method: "POST", path: "/tokens", body: { name: "ci", scopes: [] }, status: 422, members: violations(["scopes", "token.scopes.empty"]) },
  { what: "a token that is not there", method: "DELETE", path: `/tokens/${NOBODY}`, status: 404, members: {} },
  { what: "a role that nobody knows", method: "PUT", path: "/users/<self>", body: { role: "king" }, status: 422, members: { errors: [expect.stringContaining("Unknown role")] } },
  { what: "oneself, away", method: "DELETE", path: "/users/<self>", status: 403, members: {} },
  { what: "a user that is not there", method: "PUT", path: `/users/${NOBODY}`, body: { username: "somebody" }, status: 404, members: {} },
  { what: "a bad webhook", method: "POST", path: "/webhooks", body: { url: "nowhere", events: ["deployment*", "deployment.flown"] }, status: 422,
    members: violations(["events[0]", "webhook.events.unknown"], ["events[1]", "webhook.events.unknown"]) },
  { what: "a webhook to nowhere", method: "POST", path: "/webhooks", body: { url: "nowhere" }, status: 422, members: violations(["url", "webhook.url.format"]) },
  { what: "a webhook that is not there", method: "DELETE", path: `/webhooks/${NOBODY}`, status: 404, members: {} },
  { what: "its events", method: "GET", path: `/webhooks/${NOBODY}/events`, status: 404, members: {} },
];

describe("what Ring's clients are told when something is wrong", () => {
  beforeAll(async () => {
    const name = short("wrong");
    await request("POST", "/users", { body: { username: name, password: PASSWORD, role: "admin" } });
    seen.token = (decoded(await send("POST", "/login", { username: name, password: PASSWORD }, null)) as Fields)
      .token as string;
    seen.self = (decoded(await send("GET", "/users/me")) as Fields).id as string;
    seen.space = short("wrong");
    await send("POST", "/namespaces", { name: seen.space });
    const kept = await send("POST", "/configs", { namespace: seen.space, name: "kept", data: "{}" });
    seen.kept = (decoded(kept) as Fields).id as string;
    const narrow = { name: "narrow", scopes: ["deployments:read", "configs:write"], namespaces: [seen.space] };
    seen.narrow = (decoded(await send("POST", "/tokens", narrow)) as Fields).token as string;
  });

  test.each(WRONG)("$what: $method $path is $status", async ({ method, path, body, token, status, members }) => {
    const got = await send(method, path, body, token === undefined ? undefined : (seen[token ?? ""] ?? token));
    expect([got.status, got.type]).toEqual([status, "application/problem+json"]);
    // Whatever else Ring answered there, its newer endpoints and our own clients read these.
    expect(shape.Problem.parse(decoded(got))).toMatchObject({ status });
    expect(decoded(got)).toMatchObject(members);
  });
});

describe("Ring's catalogue", () => {
  test.each(CATALOGUE)("%s %s is there, and %s suffices for it", (method, path, scope) => {
    const route = ROUTES.find((one) => one.method === method && one.path === path);
    expect(route).toBeDefined();
    // `admin` holds every scope.
    const suffices = ["open", scope, "any"].includes(route?.access ?? "") || scope === "admin";
    expect(suffices ? "" : `${route?.access}`).toBe("");
  });

  test("a token may have every scope that Ring knows", async () => {
    const scopes: ScopeName[] = [...RING_NOUNS.flatMap((one) => [`${one}:read`, `${one}:write`] as const), "admin"];
    expect((await request("POST", "/tokens", { body: { name: fresh("all"), scopes } })).status).toBe(201);
  });
});
