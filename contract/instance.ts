import { z } from "zod";
import { AllowedActions } from "./action.ts";
import { BuildView } from "./build.ts";
import { GOAL_OF, type GoalAction, INSTANCE_ACTIONS } from "./instance-action.ts";
import { InstanceFailure } from "./instance-failure.ts";
import { EngineVitals, ReplicationState } from "./instance-report.ts";
import { InstanceSettings } from "./instance-settings.ts";
import { InstanceStatus, PASSING_STATUSES } from "./instance-status.ts";
import { BoundPort, Exit } from "./workload.ts";

/** An instance: a read engine compiled from one schema of a connection. What never changes of it. */
export const InstanceIdentity = z.object({
  id: z.string(),
  namespace: z.string(),
  name: z.string(),
  connection_id: z.string(),
  /** The managed database that it reads from, when its connection is to one. */
  database_id: z.string().nullable(),
  schema: z.string(),
  region: z.string(),
  created_at: z.int(),
});
export type InstanceIdentity = z.infer<typeof InstanceIdentity>;

export const PauseSchedule = z.object({
  pause_at: z.string(),
  resume_at: z.string(),
  days: z.array(z.int().min(0).max(6)),
  time_zone: z.string(),
});
export type PauseSchedule = z.infer<typeof PauseSchedule>;

/** What its user says of it, and may change. */
export const InstanceSpec = z.object({
  settings: InstanceSettings,
  config: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  pause_schedule: PauseSchedule.nullable(),
  /** A duration; it is paused when no query has come for so long. Null: never. */
  idle_pause: z.string().nullable(),
});
export type InstanceSpec = z.infer<typeof InstanceSpec>;

/** Who is behind an action: a user, or the pause schedule or the idle time that a user has set. */
export const GOAL_BY = ["user", "schedule", "idle"] as const;
export const Goal = z.object({
  action: z.enum(Object.keys(GOAL_OF) as [GoalAction, ...GoalAction[]]),
  by: z.enum(GOAL_BY),
  actor: z.string(),
  set_at: z.int(),
});
export type Goal = z.infer<typeof Goal>;

/**
 * What is under way. Its revision rises when it is changed on its way (a resize while deploying): what was started for the former one is no longer
 * listened to. `goal`: it was queued, and by whom.
 */
export const Operation = z.object({
  id: z.string(),
  revision: z.int().positive(),
  action: z.enum(INSTANCE_ACTIONS),
  actor: z.string(),
  by: z.enum([...GOAL_BY, "host"]),
  goal: z.boolean(),
  build_id: z.string().nullable(),
  started_at: z.int(),
  /** The present status ends by then, one way or another. */
  due_at: z.int(),
  /** Pausing: no slot of it is left at the source. */
  source_released: z.literal(true).optional(),
  message: z.string(),
});
export type Operation = z.infer<typeof Operation>;

const placed = { slot: z.int(), generation: z.int().positive(), since: z.int() };

/** A workload of the instance, on its way to a host or there. */
export const Runner = z.discriminatedUnion("phase", [
  z.object({
    ...placed,
    phase: z.literal("placing"),
    refused: z.record(z.string(), z.string()),
    message: z.string(),
    recheck_at: z.int(),
  }),
  z.object({
    ...placed,
    phase: z.literal("offered"),
    refused: z.record(z.string(), z.string()),
    host_id: z.string(),
    ask_at: z.int(),
  }),
  z.object({ ...placed, phase: z.literal("starting"), host_id: z.string(), ask_at: z.int() }),
  z.object({
    ...placed,
    phase: z.literal("running"),
    host_id: z.string(),
    address: z.string().nullable(),
    ports: z.array(BoundPort),
  }),
  /** A test or build that has ended without having reported; its report may still be on its way. */
  z.object({ ...placed, phase: z.literal("ended"), host_id: z.string(), exit: Exit, give_up_at: z.int() }),
  /** An engine or a release that died; its next generation is started then. */
  z.object({ ...placed, phase: z.literal("waiting"), host_id: z.string(), retry_at: z.int(), message: z.string() }),
]);
export type Runner = z.infer<typeof Runner>;

/** An engine: which build at which settings, and how it has fared. */
export const Engine = z.object({
  runner: Runner,
  build_id: z.string(),
  settings: InstanceSettings,
  /** It has a verified snapshot, so it may answer. */
  loaded: z.object({ rows: z.int(), tables: z.int(), at: z.int() }).nullable(),
  /** Deaths in a row without having been loaded for a while in between. */
  deaths: z.int().nonnegative(),
  trouble: z.object({ code: z.string(), message: z.string() }).nullable(),
});
export type Engine = z.infer<typeof Engine>;

const OUTCOMES = ["succeeded", "failed"] as const;

const common = {
  /** The highest generation that any of its workloads was given. */
  generation: z.int().nonnegative(),
  goal: Goal.nullable(),
  /** The test or the build under way, or what takes away what engines have left at the source. */
  job: Runner.nullable(),
  /** The engine that queries go to; it stays while its successor is built and loaded. */
  serving: Engine.nullable(),
  /** The engine that is to take over. */
  candidate: Engine.nullable(),
  /** What must go from hosts. */
  leaving: z.array(
    z.object({
      ...{ slot: z.int(), generation: z.int(), host_id: z.string() },
      /** Of an engine that failed: its last lines are taken from its host first. */
      failed: z.object({ build_id: z.string(), at: z.int() }).optional(),
    }),
  ),
  /** What was last rolled out: what resume starts. */
  deployed: z.object({ build_id: z.string(), settings: InstanceSettings }).nullable(),
  replication_paused: z.boolean(),
  /** How the engine that serves keeps up, as it last said. */
  replication: ReplicationState.nullable(),
  /** The host of its last workload: the next goes there too if it can, since that is what reached the source, and may have the artifact. */
  home: z.string().nullable(),
  /** How often a full reload was asked for. */
  reloads: z.int().nonnegative(),
  drift: z.object({ schema_hash: z.string(), changes: z.array(z.string()), at: z.int() }).nullable(),
  /** Failed or stopped with engines behind it: what they may have left at the source is taken away once none runs. `until`: it is tried for so long. */
  clearing: z.object({ id: z.string(), until: z.int().nullable() }).nullable().default(null),
  last_error: InstanceFailure.nullable(),
  last_operation: z
    .object({
      id: z.string(),
      action: z.enum(INSTANCE_ACTIONS),
      actor: z.string(),
      outcome: z.enum(OUTCOMES),
      message: z.string(),
      started_at: z.int(),
      finished_at: z.int(),
    })
    .nullable(),
  /** Whether engines may have left something at the source that stays without them; null: at such a source none does. */
  source_traces: z.boolean().nullable().default(null),
  /** Terminating takes longer than it should. */
  degraded: z.boolean(),
  /** Who had it paused last. One that rests because nobody asked comes back when somebody does. */
  paused_by: z.enum(GOAL_BY).nullable().default(null),
  /** Times of the pause schedule up to this one are dealt with. */
  schedule_until: z.int(),
  /** Since when the engine that serves could have been asked something, ms since 1970. */
  idle_since: z.int(),
};

const passing = { ...common, operation: Operation };
const resting = { ...common, goal: z.null(), operation: z.null(), job: z.null(), candidate: z.null() };

export const InstanceState = z.discriminatedUnion("status", [
  z.object({ ...passing, status: z.enum(PASSING_STATUSES) }),
  z.object({ ...resting, status: z.literal("running"), serving: Engine }),
  z.object({ ...resting, status: z.enum(["registered", "paused", "terminated"]), serving: z.null() }),
  z.object({ ...resting, status: z.enum(["failed", "stopped"]), serving: z.null(), job: Runner.nullable() }),
]);
export type InstanceState = z.infer<typeof InstanceState>;

/** The slots of an instance's workloads. Engines take turns, so that two of them can be there at a time. The route is no program: it says where queries go. */
export const SLOT = { test: 0, build: 1, engines: [2, 3], route: 4, release: 5 } as const;

const time = z.iso.datetime();
export const INSTANCE_HEALTH = ["ok", "degraded", "unreachable"] as const;

/** An instance as the API answers it. */
export const InstanceView = z.object({
  id: z.string(),
  name: z.string(),
  namespace: z.string(),
  connection_id: z.string(),
  database_id: z.string().nullable(),
  schema: z.string(),
  region: z.string(),
  created_at: time,
  updated_at: time,
  status: InstanceStatus,
  message: z.string(),
  desired_state: z.enum(["paused", "running", "terminated"]).nullable(),
  goal: z
    .object({ action: z.string(), by: z.enum(GOAL_BY), actor: z.string(), set_at: time })
    .nullable()
    .describe("The queued action behind `desired_state`"),
  operation: z
    .object({
      id: z.string(),
      action: z.string(),
      actor: z.string(),
      build_id: z.string().nullable(),
      started_at: time,
      due_at: time,
      message: z.string(),
    })
    .nullable(),
  last_operation: z
    .object({
      id: z.string(),
      action: z.string(),
      actor: z.string(),
      outcome: z.enum(OUTCOMES),
      message: z.string(),
      started_at: time,
      finished_at: time,
    })
    .nullable(),
  last_error: InstanceFailure.omit({ at: true }).extend({ at: time }).nullable(),
  failed_engine: z
    .object({ generation: z.int(), build_id: z.string().nullable(), at: time, log: z.array(z.string()) })
    .nullable()
    .describe("The engine that failed last, and the last that it wrote; `logs?failed=true` has more"),
  degraded: z.boolean(),
  health: z.enum(INSTANCE_HEALTH).nullable().describe("Of the engine that serves; null when none does"),
  endpoint_url: z
    .string()
    .nullable()
    .describe(
      "Where it is queried: it stays across engines, pauses and restarts, and changes when the instance moves to another host. Null before the first engine is placed, and when terminated",
    ),
  host_id: z.string().nullable(),
  build_id: z.string().nullable().describe("Of the engine that serves"),
  replication_paused: z.boolean(),
  vitals: EngineVitals.nullable(),
  drift: z.object({ schema_hash: z.string(), changes: z.array(z.string()), at: time }).nullable(),
  settings: InstanceSettings,
  deployed: InstanceSettings.nullable().describe("The settings of the last rollout"),
  pending_changes: z
    .array(z.string())
    .describe("What differs from what is deployed: settings (reconfigure applies them), or `config` (rebuild does)"),
  config: z.string().nullable().describe("The text of reflexdb.yaml; null: every table, column and relation"),
  labels: z.record(z.string(), z.string()),
  unusable_keys: z
    .array(z.string())
    .describe("Names of keys that open nothing, as a filter of theirs does not fit the build that serves"),
  pause_schedule: PauseSchedule.nullable(),
  idle_pause: z.string().nullable(),
  latest_build: BuildView.nullable(),
  revision: z.int(),
  allowedActions: AllowedActions,
  event_cursor: z.int(),
});
export type InstanceView = z.infer<typeof InstanceView>;
