import { z } from "zod";

/**
 * Health checks: what a manifest says (`HealthCheck`), what an agent is told to do (`Probe`), and what it tells of it (`HealthResult`).
 * Which check of an instance is meant is said by its index in the manifest's list: two checks of one type are two checks.
 */

export const ON_FAILURE = ["restart", "stop", "alert"] as const;
export const OnFailure = z.enum(ON_FAILURE);
export type OnFailure = z.infer<typeof OnFailure>;

const timing = {
  interval: z.string().default("10s").describe("From the start of one probe to the start of the next"),
  timeout: z.string().default("5s"),
  threshold: z.int().min(1).max(1000).default(3).describe("Failures in a row until `on_failure` is done"),
  on_failure: OnFailure.default("alert").describe(
    "`restart` replaces the instance, `stop` deletes the deployment, `alert` only tells",
  ),
  readiness: z.boolean().default(false).describe("Holds the deployment in `creating` until it is green"),
  min_healthy_time: z.string().default("10s").describe("Readiness: how long it must have been green without a break"),
  start_period: z.string().default("0s").describe("From the instance's start, failures in this time do not count"),
};

const Port = z.int().min(1, "expected 1 to 65535").max(65535, "expected 1 to 65535");

/** A check as a manifest writes it. */
export const HealthCheck = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("tcp"), port: Port, ...timing }),
  z.strictObject({
    type: z.literal("http"),
    url: z.string().describe("`localhost` in it stands for the instance's own address; any 2xx is a success"),
    ...timing,
  }),
  z.strictObject({
    type: z.literal("command"),
    command: z.string().describe("Split as a shell would; exit code 0 is a success"),
    ...timing,
  }),
]);
export type HealthCheck = z.infer<typeof HealthCheck>;

const pace = {
  interval_ms: z.int().positive(),
  timeout_ms: z.int().positive(),
  threshold: z.int().positive(),
  readiness: z.boolean(),
  min_healthy_ms: z.int().nonnegative(),
  start_period_ms: z.int().nonnegative(),
};

/** A check as an agent carries it out. */
export const Probe = z.discriminatedUnion("type", [
  z.object({ type: z.literal("tcp"), port: z.int(), ...pace }),
  z.object({ type: z.literal("http"), url: z.string(), ...pace }),
  z.object({ type: z.literal("command"), command: z.array(z.string()).min(1), ...pace }),
]);
export type Probe = z.infer<typeof Probe>;

/**
 * Which probes an agent runs: none but the readiness ones while the deployment is not `running` yet, then all. A liveness check of an instance
 * that has readiness checks starts when those have been green once.
 */
export const PROBING = ["readiness", "all"] as const;
export const Probing = z.enum(PROBING);
export type Probing = z.infer<typeof Probing>;

export const HEALTH_STATUSES = ["success", "failed", "timeout"] as const;

/**
 * The last result of one check of one instance, told when it means something new: another status than before, `healthy` reached or lost, the
 * threshold reached once more. It is level-shaped: the newest says all, and one that comes twice changes nothing. The owner hears it after what was
 * seen of the instance before it.
 */
export const HealthResult = z.object({
  /** The workload, and which generation of it. */
  id: z.string(),
  generation: z.int().positive(),
  /** Index in the manifest's `health_checks`. */
  check: z.int().nonnegative(),
  type: z.enum(["tcp", "http", "command"]),
  status: z.enum(HEALTH_STATUSES),
  message: z.string(),
  started_at: z.int(),
  /** Rises from each result of a check to the next, though the host's clock be set back: it tells the newer of two. */
  finished_at: z.int(),
  /** Results in a row with this verdict (success, or not), this one included. */
  streak: z.int().positive(),
  /** It has been green for `min_healthy_ms` without a break, measured by the agent's monotonic clock. */
  healthy: z.boolean(),
  /**
   * How often the threshold has been reached since the instance started. Failures within `start_period_ms` do not count, nor do those of probes that
   * came before their interval was over (while a readiness check has never been green it is probed faster). It only rises.
   */
  tripped: z.int().nonnegative(),
});
export type HealthResult = z.infer<typeof HealthResult>;

/** How many results a deployment keeps, and for how long, ms. */
export const HEALTH_RESULTS_KEPT = 50;
export const HEALTH_RESULTS_KEPT_MS = 7 * 86_400_000;

/** A kept result as the API answers it (`GET /deployments/:id/health-checks`, newest first). */
export const HealthResultView = z.object({
  id: z.string(),
  deployment_id: z.string(),
  instance_id: z.string(),
  check: z.int().describe("Index in the manifest's `health_checks`"),
  check_type: z.enum(["tcp", "http", "command"]),
  status: z.enum(HEALTH_STATUSES),
  message: z.string(),
  healthy: z.boolean(),
  streak: z.int(),
  created_at: z.iso.datetime(),
  started_at: z.iso.datetime(),
  finished_at: z.iso.datetime(),
});
export type HealthResultView = z.infer<typeof HealthResultView>;

/** What an instance used over the last while, told by the agent for workloads that ask for it (`spec.measured`). CPU is a percentage of one core. */
export const Usage = z.object({
  id: z.string(),
  generation: z.int().positive(),
  at: z.int(),
  cpu_usage_percent: z.number().nonnegative(),
  memory_usage_bytes: z.number().nonnegative(),
});
export type Usage = z.infer<typeof Usage>;
