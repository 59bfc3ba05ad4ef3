import { z } from "zod";

/**
 * The statuses of an instance, as the source's page has them. Stable: `registered` (never provisioned), `running` (serves queries), `paused`
 * (scaled to zero), `failed` (the last build or deploy failed, and nothing serves), `stopped` (its engine was shut down cleanly by somebody else),
 * `terminated`. The others pass, and each has a deadline.
 */
export const STABLE_STATUSES = ["registered", "running", "paused", "failed", "stopped", "terminated"] as const;
export const PASSING_STATUSES = [
  "testing_connection",
  "queued",
  "building",
  "deploying",
  "pausing",
  "resuming",
  "terminating",
] as const;
export const INSTANCE_STATUSES = [...STABLE_STATUSES, ...PASSING_STATUSES] as const;
export const InstanceStatus = z.enum(INSTANCE_STATUSES);
export type InstanceStatus = z.infer<typeof InstanceStatus>;
export type StableStatus = (typeof STABLE_STATUSES)[number];
export type PassingStatus = (typeof PASSING_STATUSES)[number];

export const isStable = (status: InstanceStatus): status is StableStatus =>
  (STABLE_STATUSES as readonly string[]).includes(status);

/** Every edge. What fails goes back to `running` when an engine still serves, and else to `failed`. */
export const INSTANCE_NEXT = {
  registered: ["testing_connection"],
  testing_connection: ["queued", "failed", "running"],
  queued: ["building", "failed", "running"],
  building: ["deploying", "failed", "running"],
  deploying: ["running", "failed"],
  running: ["testing_connection", "deploying", "pausing", "terminating", "failed", "stopped"],
  pausing: ["paused", "failed"],
  paused: ["testing_connection", "deploying", "resuming", "terminating"],
  resuming: ["running", "failed"],
  failed: ["testing_connection", "deploying", "terminating"],
  stopped: ["testing_connection"],
  terminating: ["terminated"],
  terminated: ["testing_connection"],
} as const satisfies Record<InstanceStatus, readonly InstanceStatus[]>;

/** How long a passing status may last, ms. Being over ends in `failed`, or `running` when an engine serves; terminating goes on, `degraded`. */
export const STATUS_DEADLINE_MS: Readonly<Record<PassingStatus, number>> = {
  testing_connection: 60_000,
  queued: 1_800_000,
  building: 1_200_000,
  deploying: 900_000,
  pausing: 120_000,
  resuming: 900_000,
  terminating: 900_000,
};
