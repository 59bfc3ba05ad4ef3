import { z } from "zod";

/**
 * What Ring's own clients decode, field by field: a member that stands here without `optional` and is missing, null or of another type fails them
 * as a whole, members that do not stand here are ignored. Where a client takes null or nothing, so does the shape.
 */
const maybe = <T extends z.ZodType>(type: T) => type.nullish();
const map = z.record(z.string(), z.string());

const port = z.object({
  published: z.int().min(1).max(65535),
  target: z.int().min(1).max(65535),
  host_ip: maybe(z.string()),
  protocol: z.enum(["tcp", "udp"]),
});
const volume = z.object({
  type: z.enum(["bind", "volume", "config", "secret"]),
  source: maybe(z.string()),
  key: maybe(z.string()),
  destination: z.string(),
  driver: z.enum(["local", "nfs"]),
  permission: z.enum(["ro", "rw"]),
});
const check = z.object({
  type: z.enum(["tcp", "http", "command"]),
  interval: z.string(),
  timeout: z.string(),
  threshold: z.int().nonnegative(),
  on_failure: z.enum(["restart", "stop", "alert"]),
  readiness: maybe(z.boolean()),
});
const amounts = z.object({ cpu: maybe(z.string()), memory: maybe(z.string()) });

const STATUSES = [
  "pending",
  "creating",
  "running",
  "completed",
  "failed",
  "deleted",
  "crash_loop_back_off",
  "image_pull_back_off",
  "create_container_error",
  "network_error",
  "config_error",
  "file_system_error",
  "insufficient_resources",
  "error",
] as const;

export const Deployment = z.object({
  id: z.string(),
  created_at: z.string(),
  updated_at: z.string(),
  status: z.enum(STATUSES),
  restart_count: z.int().nonnegative(),
  name: z.string(),
  runtime: z.string(),
  kind: z.enum(["worker", "job"]),
  namespace: z.string(),
  image: z.string(),
  command: z.array(z.string()),
  config: z.object({
    image_pull_policy: maybe(z.string()),
    server: maybe(z.string()),
    username: maybe(z.string()),
    password: maybe(z.string()),
  }),
  replicas: z.int().nonnegative(),
  autoscale: maybe(z.object({ min: z.int(), max: z.int(), target_cpu: z.number() })),
  desired_replicas: maybe(z.int()),
  ports: z.array(port),
  labels: map,
  instances: z.array(z.object({ id: z.string(), address: maybe(z.string()) })),
  environment: z.record(z.string(), z.union([z.string(), z.object({ secretRef: z.string() })])),
  volumes: z.array(volume),
  health_checks: maybe(z.array(check)),
  resources: maybe(z.object({ limits: maybe(amounts), requests: maybe(amounts) })),
  image_digest: maybe(z.string()),
  parent_id: maybe(z.string()),
  network: maybe(z.object({ mode: z.enum(["bridge", "host"]) })),
});

export const Event = z.object({
  id: z.string(),
  deployment_id: z.string(),
  timestamp: z.iso.datetime(),
  level: z.enum(["info", "warning", "error"]),
  message: z.string(),
  component: z.string(),
  reason: z.string(),
});

export const HealthCheckResult = z.object({
  id: z.string(),
  deployment_id: z.string(),
  check_type: z.enum(["tcp", "http", "command"]),
  status: z.enum(["success", "failed", "timeout"]),
  message: maybe(z.string()),
  created_at: z.string(),
  started_at: z.string(),
  finished_at: z.string(),
});

const memory = z.object({ usage_bytes: z.number(), limit_bytes: z.number(), usage_percent: z.number() });
const network = z.object({
  rx_bytes: z.number(),
  tx_bytes: z.number(),
  rx_packets: z.number(),
  tx_packets: z.number(),
});
const disk = z.object({ read_bytes: z.number(), write_bytes: z.number() });
export const Metrics = z.object({
  deployment_id: z.string(),
  deployment_name: z.string(),
  instance_count: z.int(),
  total_cpu_usage_percent: z.number(),
  total_memory: memory,
  total_network: network,
  total_disk_io: disk,
  total_pids: z.number(),
  instances: z.array(
    z.object({
      instance_id: z.string(),
      instance_name: z.string(),
      cpu_usage_percent: z.number(),
      memory,
      network,
      disk_io: disk,
      pids: z.object({ current: z.number(), limit: maybe(z.number()) }),
      restart_count: z.number(),
    }),
  ),
});

export const LogLine = z.object({
  instance: z.string(),
  message: z.string(),
  level: z.enum(["error", "warning", "info", "debug", "unknown"]),
  timestamp: maybe(z.string()),
});

export const Namespace = z.object({ id: z.string(), created_at: z.string(), updated_at: z.string(), name: z.string() });
export const Config = z.object({
  id: z.string(),
  created_at: z.string(),
  updated_at: maybe(z.string()),
  namespace: z.string(),
  name: z.string(),
  data: z.string(),
  labels: maybe(z.string()),
});
export const Secret = z.object({
  id: z.string(),
  created_at: z.string(),
  updated_at: maybe(z.string()),
  namespace: z.string(),
  name: z.string(),
});
export const Token = z.object({
  id: z.string(),
  name: z.string(),
  token_prefix: z.string(),
  scopes: z.array(z.string()),
  namespaces: z.array(z.string()),
  created_at: z.string(),
  expire_at: maybe(z.string()),
  last_used_at: maybe(z.string()),
  revoked_at: maybe(z.string()),
});
export const TokenCreated = z.object({
  id: z.string(),
  name: z.string(),
  token: z.string(),
  token_prefix: z.string(),
  scopes: z.array(z.string()),
  namespaces: z.array(z.string()),
  created_at: z.string(),
  expire_at: maybe(z.string()),
  message: z.string(),
});
export const User = z.object({
  id: z.string(),
  username: z.string(),
  created_at: z.string(),
  updated_at: maybe(z.string()),
  status: z.string(),
  login_at: maybe(z.string()),
});
export const Webhook = z.object({
  id: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  created_at: z.string(),
  revoked_at: maybe(z.string()),
});
export const WebhookCreated = z.object({
  id: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  secret: z.string(),
  created_at: z.string(),
  message: z.string(),
});
export const WebhookEvent = z.object({
  id: z.string(),
  kind: z.string(),
  payload: z.string(),
  status: z.enum(["pending", "delivered", "dead"]),
  attempts: z.int(),
  next_attempt_at: maybe(z.string()),
  last_error: maybe(z.string()),
  created_at: z.string(),
});
export const VolumeCreated = z.object({
  id: z.string(),
  created_at: z.string(),
  namespace: z.string(),
  name: z.string(),
  backend_type: z.string(),
});
export const Volume = VolumeCreated.extend({
  updated_at: maybe(z.string()),
  size: maybe(z.string()),
  host_path: maybe(z.string()),
  labels: maybe(map),
});
export const AuditEntry = z.object({
  id: z.string(),
  timestamp: z.iso.datetime(),
  user_id: z.string(),
  action: z.string(),
  target_type: z.enum(["deployment", "secret", "config", "volume", "namespace", "token", "webhook"]),
  target_name: z.string(),
  namespace: maybe(z.string()),
});
/** What the command line prints of an error: the title and the status, then each violation, or else the detail. */
export const Problem = z.object({
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  violations: z.array(z.object({ property_path: z.string(), message: z.string(), code: z.string() })),
});
export const Node = z.object({
  hostname: z.string(),
  os: z.string(),
  arch: z.string(),
  uptime: z.string(),
  cpu_count: z.int(),
  memory_total: z.number(),
  memory_available: z.number(),
  load_average: z.array(z.number()),
});
