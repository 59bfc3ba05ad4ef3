import { Manifest } from "../contract/manifest.ts";
import { SHOWN_ONCE } from "../contract/token.ts";

/** Examples for the documentation. A test holds each against its schema. */

export const MANIFEST = {
  name: "web",
  namespace: "shop",
  runtime: "docker",
  image: "nginx:1.29-alpine",
  replicas: 2,
  environment: { LOG_LEVEL: "info" },
  labels: { tier: "front" },
  resources: { limits: { cpu: "500m", memory: "128Mi" } },
};

export const EXPLANATION = {
  id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt",
  status: "pending",
  reason: "no_host_fits",
  message: "no host has the label site=moon",
  revision: 2,
  terminal: false,
  restart_count: 0,
  restarts_left: 5,
  waiting_for: [
    {
      instance: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt-0-g1",
      for: "a host",
      message: "no host has the label site=moon",
      until: "2026-11-21T10:00:01.412Z",
    },
  ],
  hosts: [],
  next_deadline_at: "2026-11-21T10:00:01.412Z",
  undelivered: [],
  allowedActions: { apply: { allowed: true }, delete: { allowed: true } },
};

export const DEPLOYMENT = {
  id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt",
  created_at: "2026-11-21T09:30:00.000Z",
  updated_at: "2026-11-21T09:30:01.412Z",
  status: "running",
  reason: "ready",
  message: "2 of 2 instances are running",
  restart_count: 0,
  name: "web",
  namespace: "shop",
  runtime: "docker",
  kind: "worker",
  image: "nginx:1.29-alpine",
  command: [],
  config: {},
  replicas: 2,
  ports: [],
  labels: { tier: "front" },
  environment: { LOG_LEVEL: "info" },
  volumes: [],
  resources: { limits: { cpu: "500m", memory: "128Mi" } },
  stop_timeout: "10s",
  instances: [
    {
      id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt-0-g1",
      phase: "running",
      host_id: "host_01k9j4zt6p2d8e5f9g3h7j1k4m",
      address: "172.18.0.3",
      since: "2026-11-21T09:30:01.305Z",
    },
  ],
  revision: 6,
  allowedActions: { apply: { allowed: true }, delete: { allowed: true } },
  event_cursor: 6,
};

export const SCHEDULE_BODY = {
  name: "backup",
  namespace: "shop",
  cron: "30 2 * * *",
  time_zone: "Europe/Berlin",
  concurrency_policy: "forbid",
  starting_deadline: "1h",
  job: { image: "shop/backup:4", environment: { TARGET: "s3://shop-backups" }, deadline: "30m" },
};

const {
  name: _name,
  namespace: _namespace,
  ...AS_STORED
} = Manifest.parse({
  name: "backup",
  kind: "job",
  image: "shop/backup:4",
  deadline: "30m",
});

export const SCHEDULE = {
  id: "sched_01k9j5y7v1d4h8m2q6s0w3z9bc",
  name: "backup",
  namespace: "shop",
  created_at: "2026-11-21T09:40:00.000Z",
  updated_at: "2026-11-22T01:31:12.040Z",
  status: "waiting",
  message: "next run at 2026-11-23T01:30:00.000Z",
  cron: "30 2 * * *",
  time_zone: "Europe/Berlin",
  concurrency_policy: "forbid",
  starting_deadline: "1h",
  suspend: false,
  history: { completed: 3, failed: 1 },
  job: AS_STORED,
  next_at: "2026-11-23T01:30:00.000Z",
  last_scheduled_at: "2026-11-22T01:30:00.000Z",
  active: [],
  last_run: {
    name: "backup-20261122013000",
    deployment_id: "dep_01k9mqz3kc5t8w1y4b7d0g2j6n",
    scheduled_at: "2026-11-22T01:30:00.000Z",
    trigger: "schedule",
    status: "completed",
    message: "the job exited with code 0",
    started_at: "2026-11-22T01:30:00.061Z",
    finished_at: "2026-11-22T01:31:12.040Z",
  },
  revision: 5,
  allowedActions: {
    apply: { allowed: true },
    trigger: { allowed: true },
    suspend: { allowed: true },
    resume: { allowed: false, code: "status_waiting" },
    delete: { allowed: true },
  },
  event_cursor: 9,
};

export const NAMESPACE = {
  id: "ns_01k9j5w0n3x7m2c4v8b6z1q5rt",
  created_at: "2026-11-21T09:29:00.000Z",
  updated_at: "",
  name: "shop",
  revision: 1,
};

export const CONFIG = {
  id: "cfg_01k9j5w0n3x7m2c4v8b6z1q5rt",
  created_at: "2026-11-21T09:29:10.000Z",
  updated_at: null,
  namespace: "shop",
  name: "web",
  data: '{"app.json":"{}"}',
  labels: null,
  revision: 1,
};

export const SECRET = {
  id: "sec_01k9j5w0n3x7m2c4v8b6z1q5rt",
  created_at: "2026-11-21T09:29:20.000Z",
  updated_at: null,
  namespace: "shop",
  name: "db-password",
  revision: 1,
};

export const VOLUME = {
  id: "vol_01k9j5w0n3x7m2c4v8b6z1q5rt",
  created_at: "2026-11-21T09:29:30.000Z",
  updated_at: null,
  namespace: "shop",
  name: "uploads",
  size: null,
  backend_type: "local",
  host_path: null,
  labels: {},
  registered_by: "deployment",
  revision: 1,
};

export const HOST = {
  id: "host_01k9j4zt6p2d8e5f9g3h7j1k4m",
  name: "lamp-1",
  status: "ready",
  scheduling: "open",
  reason: "settled",
  message: "runs what it should",
  transport: "tunnel",
  endpoint: null,
  labels: { zone: "a" },
  runtimes: [{ runtime: "docker", version: "20.10.24" }],
  capacity: { memory_bytes: 8589934592, cpu_millis: 4000 },
  reserved: { memory_bytes: 268435456, cpu_millis: 1000 },
  policy: { privileged: false, host_network: false, host_mounts: [], images: [] },
  agent_version: "0.1.0",
  boot_id: "0d1f6c9e-5a57-4d3c-9a43-6b1c2f1d7e88",
  workloads: 2,
  created_at: "2026-11-21T09:12:44.031Z",
  updated_at: "2026-11-21T09:30:01.390Z",
  last_seen_at: "2026-11-21T09:30:10.002Z",
  revision: 9,
  allowedActions: {
    cordon: { allowed: true },
    uncordon: { allowed: false, code: "scheduling_open" },
    drain: { allowed: true },
    remove: { allowed: true },
  },
  event_cursor: 5,
};

export const TOKEN = {
  id: "tok_01k9j4x2y8n6r4t0v3w7z5a1b9",
  name: "ci",
  token_prefix: "lamp_01k9j4x2y8",
  scopes: ["deployments:read", "deployments:write"],
  namespaces: ["shop"],
  created_at: "2026-11-21T09:11:02.500Z",
  expire_at: "2027-02-19T00:00:00.000Z",
  last_used_at: null,
  revoked_at: null,
  uses_left: null,
  labels: {},
  user_id: null,
  revision: 1,
};

export const TOKEN_CREATED = { ...TOKEN, token: "lamp_01k9j4x2y8n6r4t0v3w7z5a1b9_2vN8…", message: SHOWN_ONCE };

export const USER = {
  id: "usr_01k9j4w7c3d5e8f2g6h9j1k4m7",
  username: "ada",
  role: "operator",
  status: "active",
  created_at: "2026-11-20T08:00:00.000Z",
  updated_at: null,
  login_at: "2026-11-21T09:00:00.000Z",
  revision: 1,
} as const;

export const EVENT = {
  id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt:6",
  seq: 6,
  resource_id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt",
  timestamp: "2026-11-21T09:30:01.412Z",
  level: "info",
  component: "scheduler",
  reason: "state_transition",
  message: "creating → running: 2 of 2 instances are running",
  actor: "agent",
  revision: 6,
  old_status: "creating",
  new_status: "running",
};

export const AUDIT_ENTRY = {
  id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt:create:1",
  timestamp: "2026-11-21T09:30:00.000Z",
  actor: "tok_01k9j4x2y8n6r4t0v3w7z5a1b9",
  action: "create",
  resource_kind: "deployment",
  resource_id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt",
  resource_name: "web",
  namespace: "shop",
  before_revision: null,
  after_revision: 1,
  request_id: "req_01k9j5w0n1c3e5g7j9m2p4r6t8",
};

export const LOG_LINE = {
  instance: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt-0-g1",
  stream: "stdout",
  message: "listening on :80",
  level: "info",
  timestamp: "2026-11-21T09:30:01.300Z",
};

export const STATS = { usage_bytes: 7340032, limit_bytes: 134217728, usage_percent: 5.47 };

export const WEBHOOK = {
  id: "whk_01k9j60a4c8e2g6j0m4p8r2t6v",
  url: "https://ci.example.com/hooks/lamplighter",
  events: ["deployment.*"],
  namespaces: ["shop"],
  labels: {},
  format: "standard",
  ring_headers: false,
  description: "",
  status: "active",
  reason: "active",
  message: "receives events",
  failing_since: null,
  secrets: 1,
  created_at: "2026-11-21T09:40:00.000Z",
  updated_at: "2026-11-21T09:40:00.000Z",
  revoked_at: null,
  revision: 1,
  allowedActions: { disable: { allowed: true }, delete: { allowed: true } },
  event_cursor: 1,
};

export const WEBHOOK_ATTEMPT = {
  id: 7,
  event_id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt:6",
  kind: "deployment.status_changed",
  at: "2026-11-21T09:30:01.431Z",
  outcome: "delivered",
  status: 204,
  latency_ms: 12,
  error: null,
  response: "",
};

export const WEBHOOK_DELIVERY = {
  id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt:6",
  kind: "deployment.status_changed",
  payload: '{"type":"deployment.status_changed","timestamp":"2026-11-21T09:30:01.412Z","data":{}}',
  status: "delivered",
  attempts: 1,
  next_attempt_at: null,
  last_error: null,
  created_at: "2026-11-21T09:30:01.418Z",
  updated_at: "2026-11-21T09:30:01.431Z",
};

export const HOOK = {
  id: "hook_01k9j62b5d9f3h7k1n5q9s3v7x",
  namespace: "shop",
  deployment: "web",
  source: "github",
  image: "registry.example.com/shop/web:{short_sha}",
  branches: ["main"],
  tags: [],
  description: "",
  path: "/hooks/hook_01k9j62b5d9f3h7k1n5q9s3v7x",
  created_at: "2026-11-21T09:42:00.000Z",
  revision: 1,
};

export const HOOK_DELIVERY = {
  id: "72d3162e-cc78-11e3-81ab-4c9367dc0958",
  at: "2026-11-21T09:50:00.000Z",
  outcome: "applied",
  message: "web is to run registry.example.com/shop/web:1a2b3c4",
  image: "registry.example.com/shop/web:1a2b3c4",
  deployment_id: "dep_01k9j5w0n3x7m2c4v8b6z1q5rt",
};
