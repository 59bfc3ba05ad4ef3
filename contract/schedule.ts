import { z } from "zod";
import { type ActionTable, AllowedActions } from "./action.ts";
import type { DeploymentStatus } from "./deployment.ts";
import { MANIFEST_FIELDS, Manifest } from "./manifest.ts";
import { ManifestView } from "./manifest-view.ts";

/**
 * A schedule runs a job at the times of a cron expression. Each run is a deployment of kind job of its own. `waiting`: for its next time.
 * `running`: a run is under way, or being ended. `suspended`: no time is waited for, though a run may still be under way.
 */
export const SCHEDULE_STATUSES = ["waiting", "running", "suspended", "deleted"] as const;
export const ScheduleStatus = z.enum(SCHEDULE_STATUSES);
export type ScheduleStatus = z.infer<typeof ScheduleStatus>;

/** Every edge that a schedule may take. */
export const SCHEDULE_NEXT = {
  waiting: ["running", "suspended", "deleted"],
  running: ["waiting", "suspended", "deleted"],
  suspended: ["waiting", "running", "deleted"],
  deleted: [],
} as const satisfies Record<ScheduleStatus, readonly ScheduleStatus[]>;

export const SCHEDULE_ACTIONS = ["apply", "trigger", "suspend", "resume", "delete"] as const;
export type ScheduleAction = (typeof SCHEDULE_ACTIONS)[number];

const living = ["waiting", "running", "suspended"] as const;

/** What may be asked in which status. `already`: success without work. Applying to a deleted name makes a new schedule. */
export const SCHEDULE_ACTION_TABLE = {
  apply: { from: living, already: [] },
  trigger: { from: living, already: [] },
  suspend: { from: ["waiting", "running"], already: ["suspended"] },
  resume: { from: ["suspended"], already: ["waiting", "running"] },
  delete: { from: living, already: ["deleted"] },
} as const satisfies ActionTable<ScheduleStatus, ScheduleAction>;

export const CONCURRENCY_POLICIES = ["allow", "forbid", "replace"] as const;
export const ConcurrencyPolicy = z.enum(CONCURRENCY_POLICIES);
export type ConcurrencyPolicy = z.infer<typeof ConcurrencyPolicy>;

/** What comes after it in the name of a run is `-20261121093000m`, and a name has 63 characters. */
export const SCHEDULE_NAME_LENGTH = 47;

const { name: _name, namespace: _namespace, ...jobFields } = MANIFEST_FIELDS;

export const History = z.strictObject({
  completed: z.int().min(0).max(100).default(3),
  failed: z.int().min(0).max(100).default(1),
});

/** A schedule as its user writes it. What the fields may hold together is `schedule-check.ts`. */
export const SCHEDULE_FIELDS = {
  name: MANIFEST_FIELDS.name,
  namespace: MANIFEST_FIELDS.namespace,
  cron: z
    .string()
    .describe(
      "Minute, hour, day of month, month, day of week; six fields begin with seconds; or `@daily` and the like",
    ),
  time_zone: z.string().default("UTC").describe("A name of the IANA time zone database, such as `Europe/Berlin`"),
  concurrency_policy: ConcurrencyPolicy.default("forbid").describe(
    "When its time comes and a run is still under way: start another all the same, skip this time, or end the one that runs and start when it is gone",
  ),
  starting_deadline: z
    .string()
    .nullish()
    .describe("How late a missed time may still be started, such as `10m`; without it the latest one always is"),
  suspend: z.boolean().nullish().describe("Left out: it stays as it is"),
  history: History.prefault({}).describe("How many finished runs are kept, by how they ended"),
  job: z
    .strictObject({ ...jobFields, kind: z.literal("job").default("job") })
    .describe("What is run: a deployment's manifest of kind job, without name and namespace"),
} as const;
export const ScheduleBody = z.strictObject(SCHEDULE_FIELDS);
export type ScheduleBody = z.infer<typeof ScheduleBody>;

/** What a schedule is told to do; applying its name again changes it. `job` carries the schedule's own name and namespace. */
export const ScheduleSpec = z.object({
  cron: z.string(),
  time_zone: z.string(),
  concurrency_policy: ConcurrencyPolicy,
  starting_deadline: z.string().nullable(),
  history: History,
  job: Manifest,
});
export type ScheduleSpec = z.infer<typeof ScheduleSpec>;

export const ScheduleIdentity = z.object({
  id: z.string(),
  namespace: z.string(),
  name: z.string(),
  created_at: z.int(),
});
export type ScheduleIdentity = z.infer<typeof ScheduleIdentity>;

/** A run is known by the time it is for: what is fired once for a time is never fired for it again. */
const run = { at: z.int(), manual: z.boolean() };
const made = { ...run, deployment_id: z.string(), started_at: z.int() };

/**
 * One run. `attempted`: its deployment may have been made, though the answer has not come. `doomed`: it is to end as soon as that is known.
 */
export const Run = z.discriminatedUnion("phase", [
  z.object({ ...run, phase: z.literal("due"), attempted: z.boolean(), doomed: z.boolean() }),
  z.object({ ...made, phase: z.literal("active") }),
  /** Its deployment is being deleted; it is over when nothing is left of it. */
  z.object({ ...made, phase: z.literal("stopping") }),
  z.object({
    ...run,
    phase: z.literal("finished"),
    deployment_id: z.string().nullable(),
    started_at: z.int().nullable(),
    finished_at: z.int(),
    outcome: z.enum(["completed", "failed"]),
    message: z.string(),
  }),
]);
export type Run = z.infer<typeof Run>;

const common = {
  runs: z.array(Run),
  /** Deployments of former runs that are to be deleted. */
  discard: z.array(z.string()),
  /** Times up to this one are dealt with, ms since 1970. */
  done_until: z.int(),
  last_scheduled_at: z.int().nullable(),
  last_manual_at: z.int(),
  /** When to ask after the runs that are under way, in case nobody tells. Null when none is. */
  check_at: z.int().nullable(),
};

export const ScheduleState = z.discriminatedUnion("status", [
  z.object({ ...common, status: z.literal("waiting"), next_at: z.int() }),
  z.object({ ...common, status: z.literal("running"), next_at: z.int() }),
  z.object({ ...common, status: z.literal("suspended") }),
  z.object({ ...common, status: z.literal("deleted") }),
]);
export type ScheduleState = z.infer<typeof ScheduleState>;

/** `<schedule>-<time in UTC>`, with an `m` when it was triggered by hand. */
export const runName = (schedule: string, { at, manual }: Pick<Run, "at" | "manual">): string =>
  `${schedule}-${new Date(at).toISOString().replace(/\D/g, "").slice(0, 14)}${manual ? "m" : ""}`;

/** Carried by each run's deployment; its value is the schedule's name. */
export const SCHEDULE_LABEL = "lamplighter.schedule";

/** Where a run's deployment stands: `gone` was deleted to the end; of `unknown` its own object has not heard. */
export type Standing = { status: DeploymentStatus | "gone" | "unknown"; message: string };

export const RunView = z.object({
  name: z.string().describe("Of its deployment"),
  deployment_id: z.string().nullable(),
  scheduled_at: z.iso.datetime(),
  trigger: z.enum(["schedule", "manual"]),
  status: z.enum(["due", "active", "stopping", "completed", "failed"]),
  message: z.string(),
  started_at: z.iso.datetime().nullable(),
  finished_at: z.iso.datetime().nullable(),
});
export type RunView = z.infer<typeof RunView>;

/** A schedule as the API answers it. */
export const ScheduleView = z.object({
  id: z.string(),
  name: z.string(),
  namespace: z.string(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
  status: ScheduleStatus,
  message: z.string(),
  cron: z.string(),
  time_zone: z.string(),
  concurrency_policy: ConcurrencyPolicy,
  starting_deadline: z.string().nullable(),
  suspend: z.boolean(),
  history: History,
  job: ManifestView.omit({ name: true, namespace: true }).describe(
    "With every default filled in; a password is never answered",
  ),
  next_at: z.iso.datetime().nullable(),
  last_scheduled_at: z.iso.datetime().nullable(),
  active: z.array(RunView).describe("Runs that are under way"),
  last_run: RunView.nullable().describe("The newest run that is finished"),
  revision: z.int(),
  allowedActions: AllowedActions,
  event_cursor: z.int(),
});
export type ScheduleView = z.infer<typeof ScheduleView>;
