import { z } from "zod";
import { AllowedActions } from "./action.ts";
import { HEALTH_STATUSES, HealthCheck } from "./health.ts";
import { Manifest } from "./manifest.ts";
import { AutoscaleView, EnvironmentView, MountView, PlacementView, PullView, ResourcesView } from "./manifest-view.ts";
import { Rollout } from "./rollout.ts";
import { BoundPort, Exit, FAILURE_KINDS, FailureKind, Note, PortMapping } from "./workload.ts";

/** The fourteen statuses of a deployment: one snake_case word on the wire, in the CLI and in the SQLite column. */
export const DEPLOYMENT_STATUSES = [
  "pending",
  "creating",
  "running",
  "completed",
  "deleted",
  "failed",
  "crash_loop_back_off",
  "insufficient_resources",
  "image_pull_back_off",
  "create_container_error",
  "network_error",
  "config_error",
  "file_system_error",
  "error",
] as const;
export const DeploymentStatus = z.enum(DEPLOYMENT_STATUSES);
export type DeploymentStatus = z.infer<typeof DeploymentStatus>;

/** Never reconciled again; left by deletion, or by applying a fixed manifest (which makes a new deployment). */
export const TERMINAL = [
  "completed",
  "failed",
  "crash_loop_back_off",
  "insufficient_resources",
] as const satisfies readonly DeploymentStatus[];
/** Failures that are tried again, with back-off, until MAX_RESTART_COUNT. */
export const RETRIED = FAILURE_KINDS satisfies readonly DeploymentStatus[];

export const isTerminal = (status: DeploymentStatus): boolean => (TERMINAL as readonly string[]).includes(status);
export const isRetried = (status: DeploymentStatus): status is FailureKind =>
  (RETRIED as readonly string[]).includes(status);
/** Passing statuses wait for something and always have a deadline; the others rest. `deleted` rests when it has been purged. */
export const isPassing = (status: DeploymentStatus): boolean => status !== "running" && !isTerminal(status);

/** A worker that died, or an apply that failed, this often is given up. Cumulative over the deployment's life; a re-apply resets it. */
export const MAX_RESTART_COUNT = 5;
/** Seconds before the next attempt, by how many have been counted so far. */
export const RETRY_DELAY_S = [1, 2, 4, 8, 16] as const;

const fromError = [
  "creating",
  "running",
  ...FAILURE_KINDS,
  "failed",
  "crash_loop_back_off",
  "insufficient_resources",
  "completed",
  "deleted",
] as const;
const otherThan = <K extends FailureKind>(kind: K) =>
  fromError.filter((status) => status !== kind) as Exclude<(typeof fromError)[number], K>[];

/** Every edge that a deployment may take. */
export const DEPLOYMENT_NEXT = {
  pending: ["creating", "insufficient_resources", "deleted"],
  creating: [
    "pending",
    "running",
    "completed",
    "failed",
    "crash_loop_back_off",
    "insufficient_resources",
    ...FAILURE_KINDS,
    "deleted",
  ],
  // Back to pending only when its host is lost or drained and no other host fits: "running" would be untrue.
  running: ["pending", "completed", "failed", "crash_loop_back_off", ...FAILURE_KINDS, "deleted"],
  completed: ["deleted"],
  failed: ["deleted"],
  crash_loop_back_off: ["deleted"],
  insufficient_resources: ["deleted"],
  image_pull_back_off: otherThan("image_pull_back_off"),
  create_container_error: otherThan("create_container_error"),
  network_error: otherThan("network_error"),
  config_error: otherThan("config_error"),
  file_system_error: otherThan("file_system_error"),
  error: otherThan("error"),
  deleted: [],
} as const satisfies Record<DeploymentStatus, readonly DeploymentStatus[]>;

export const DEPLOYMENT_ACTIONS = ["apply", "delete"] as const;
export type DeploymentAction = (typeof DEPLOYMENT_ACTIONS)[number];

/** What may be asked in which status. `already`: success without work. Applying to a deleted name makes a new deployment. */
export const DEPLOYMENT_ACTION_TABLE = {
  apply: { from: DEPLOYMENT_STATUSES, already: [] },
  delete: { from: DEPLOYMENT_STATUSES.filter((status) => status !== "deleted"), already: ["deleted"] },
} as const satisfies Record<
  DeploymentAction,
  { from: readonly DeploymentStatus[]; already: readonly DeploymentStatus[] }
>;

const slot = {
  slot: z.int().nonnegative(),
  generation: z.int().positive(),
  /** When it came to this phase. */
  since: z.int(),
};
const placed = { ...slot, host_id: z.string() };
/** Hosts that said no to this generation, and why. */
const refused = z.record(z.string(), z.string());
/** Where each of its health checks stands, as its agent told it last. Those that were never told are not in it. */
const CheckState = z.object({
  check: z.int().nonnegative(),
  status: z.enum(HEALTH_STATUSES),
  healthy: z.boolean(),
  tripped: z.int().nonnegative(),
  message: z.string(),
  /** When the probe ended, by the host's clock: an older result than this says nothing any more. */
  at: z.int().default(0),
});

/** The failure that the attempt before this one ended in; null on a first attempt. */
const trouble = { trouble: FailureKind.nullable() };

/**
 * One replica's place, and how far it has come. A generation is drawn each time a host is to be chosen, and stored before any host
 * is asked. Each passing phase says when to look again if nothing is heard (`…_at`, ms since 1970).
 */
export const Instance = z.discriminatedUnion("phase", [
  /** No host chosen. `message`: why nobody fits, empty before it was looked. */
  z.object({
    ...slot,
    ...trouble,
    phase: z.literal("placing"),
    refused,
    message: z.string(),
    recheck_at: z.int(),
    /** Something that the manifest refers to is missing: before it is there, no host is chosen. */
    unresolved: z.boolean().default(false),
  }),
  /** A host is chosen, and is being asked to reserve. Whether the question landed may be unknown: the same host is asked until it answers. */
  z.object({ ...placed, ...trouble, phase: z.literal("offered"), refused, ask_at: z.int() }),
  /** The host has it. */
  z.object({ ...placed, ...trouble, phase: z.literal("starting"), message: z.string(), ask_at: z.int() }),
  z.object({
    ...placed,
    phase: z.literal("running"),
    started_at: z.int(),
    address: z.string().nullable(),
    image_digest: z.string().nullable(),
    notes: z.array(Note),
    ports: z.array(BoundPort).default([]),
    health: z.array(CheckState).default([]),
    /** What it used when it was last told, percent of one core; null when it was not. */
    cpu: z.object({ percent: z.number(), at: z.int() }).nullable().default(null),
  }),
  /** It died or could not be brought up, stays for its logs, and makes way for a new generation at `retry_at`. */
  z.object({ ...placed, ...trouble, phase: z.literal("waiting"), message: z.string(), retry_at: z.int() }),
  /** It ended for good: a finished job, or the last death of a worker that was given up. */
  z.object({ ...placed, phase: z.literal("exited"), message: z.string(), exit: Exit.nullable() }),
]);
export type Instance = z.infer<typeof Instance>;

/**
 * A generation that must be gone from its host; here until the host says so. `serving`: it still runs, on a host that is drained, and is told to
 * go only when the slot's next generation runs elsewhere.
 */
export const Leaving = z.object({
  slot: z.int().nonnegative(),
  generation: z.int().positive(),
  host_id: z.string(),
  serving: z.boolean(),
});
export type Leaving = z.infer<typeof Leaving>;

const common = {
  /** A stable snake_case word, and a sentence for a person. */
  reason: z.string(),
  message: z.string(),
  restart_count: z.int().nonnegative(),
  instances: z.array(Instance),
  leaving: z.array(Leaving),
  /** It has been `running` once; from then on readiness holds nothing back. */
  established: z.boolean().default(true),
  rollout: Rollout.default({ role: "none", number: 0 }),
  /** When readiness, or the rollout, last came on, and how far it was then. */
  progress: z.object({ at: z.int(), mark: z.int() }).default({ at: 0, mark: 0 }),
  /** When it has gone on for too long without; null while nothing is waited for. */
  progress_due_at: z.int().nullable().default(null),
  /** What the autoscaler wants, and when it last changed that; null before it has acted. */
  autoscaled: z.object({ replicas: z.int().positive(), at: z.int() }).nullable().default(null),
  /** Jobs: runs that failed and were tried again. */
  retried: z.int().nonnegative().default(0),
};
const status = <S extends DeploymentStatus>(word: S) => z.object({ ...common, status: z.literal(word) });

/** The state that a DeploymentObject holds. What a status needs, it has: there are no nullable fields that mean "not in this status". */
export const DeploymentState = z.discriminatedUnion("status", [
  status("pending"),
  status("creating"),
  status("running"),
  status("completed").extend({ finished_at: z.int(), exit: Exit }),
  status("failed").extend({ finished_at: z.int(), exit: Exit.nullable().default(null) }),
  status("crash_loop_back_off").extend({ finished_at: z.int() }),
  status("insufficient_resources").extend({ finished_at: z.int() }),
  status("image_pull_back_off"),
  status("create_container_error"),
  status("network_error"),
  status("config_error"),
  status("file_system_error"),
  status("error"),
  /** `ask_at`: when to ask the hosts again for what is not gone yet. */
  status("deleted").extend({ deleted_at: z.int(), ask_at: z.int() }),
]);
export type DeploymentState = z.infer<typeof DeploymentState>;

/** What a deployment is from creation on: it never changes; applying another manifest makes another deployment. */
export const DeploymentIdentity = z.object({
  id: z.string(),
  created_at: z.int(),
  manifest: Manifest,
  /** The deployment of the same name that this one took over from. */
  replaces: z.string().nullable(),
  /** Set when it takes over by a rolling update: the rollout's number, and from whom. */
  takes_over: z
    .object({
      number: z.int().nonnegative(),
      parents: z.array(z.string()).min(1),
      /** What the autoscaler of the first parent had come to. */
      autoscaled: z.int().positive().nullable(),
    })
    .nullish(),
  /** Why what was there before was stopped at once instead of being replaced step by step; null when nothing was. */
  force_replace: z.string().nullish(),
  /** The schedule that it is a run of: it is told how the run ends. */
  owner_schedule: z.string().optional(),
});
export type DeploymentIdentity = z.infer<typeof DeploymentIdentity>;

export const InstanceView = z.object({
  id: z.string().describe("`<deployment>-<slot>-g<generation>`"),
  phase: z.string(),
  host_id: z.string().nullable(),
  address: z.string().optional(),
  since: z.iso.datetime(),
  message: z.string().optional(),
  notes: z.array(Note).optional(),
  ready: z.boolean().optional().describe("While it runs: whether every readiness check is green"),
  ports: z.array(BoundPort).optional(),
  exit: z
    .object({ code: z.int().nullable(), signal: z.string().nullable(), oom: z.boolean(), timed_out: z.boolean() })
    .optional(),
});

export type InstanceView = z.infer<typeof InstanceView>;

/** A deployment as the API answers it. */
export const DeploymentView = z.object({
  id: z.string(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
  status: DeploymentStatus,
  reason: z.string(),
  message: z.string(),
  restart_count: z.int(),
  name: z.string(),
  namespace: z.string(),
  runtime: z.string(),
  kind: z.enum(["worker", "job"]),
  image: z.string().describe("Empty for the process runtime"),
  command: z.array(z.string()),
  config: PullView.partial(),
  replicas: z.int(),
  autoscale: AutoscaleView.optional(),
  desired_replicas: z.int().optional().describe("With `autoscale`: how many it is scaled to"),
  ports: z.array(PortMapping),
  labels: z.record(z.string(), z.string()),
  environment: EnvironmentView,
  volumes: z.array(MountView),
  resources: ResourcesView.optional(),
  network: z.object({ mode: z.string() }).optional(),
  working_dir: z.string().optional(),
  stop_timeout: z.string(),
  placement: PlacementView.optional(),
  health_checks: z.array(HealthCheck).optional(),
  max_surge: z.int().optional(),
  max_unavailable: z.int().optional(),
  rollout_deadline: z.string().optional(),
  on_deadline: z.string().optional(),
  retries: z.int().optional(),
  deadline: z.string().optional(),
  ttl_after_finished: z.string().optional(),
  image_digest: z.string().optional(),
  replaces: z.string().optional(),
  parent_id: z.string().optional().describe("While a rolling update goes on: the version that is being replaced"),
  rollout: z
    .object({
      role: z.enum(["child", "parent"]),
      direction: z.enum(["forward", "back"]).optional(),
      paused: z.boolean().optional(),
      parents: z.array(z.object({ id: z.string(), instances: z.int(), ready: z.int(), leaving: z.int() })).optional(),
      successor_id: z.string().optional(),
      keeps: z.int().optional(),
    })
    .optional()
    .describe("While a rolling update goes on"),
  exit: z
    .object({ code: z.int().nullable(), signal: z.string().nullable(), oom: z.boolean(), timed_out: z.boolean() })
    .optional()
    .describe("A finished job: how it ended"),
  instances: z.array(InstanceView),
  revision: z.int(),
  allowedActions: AllowedActions,
  event_cursor: z
    .int()
    .describe("seq of the newest event; `GET …/events` with `Last-Event-ID` of this continues from here"),
});
export type DeploymentView = z.infer<typeof DeploymentView>;
