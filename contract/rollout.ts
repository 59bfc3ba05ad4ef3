import { z } from "zod";
import { ManifestView } from "./manifest-view.ts";

/**
 * A rolling update: a new deployment (the child) takes a name over from those that held it (its parents) one instance at a time. The child decides how
 * many instances each side may have; a parent only obeys, and tells what it has. Going back is the same with the roles exchanged.
 */

/** What one side of a rollout has: told by a parent to its successor whenever it changes. */
export const RolloutReport = z.object({
  /** The instances that should be there. */
  instances: z.array(z.object({ id: z.string(), slot: z.int().nonnegative(), ready: z.boolean() })),
  /** Generations that were told to go, and still hold their place. */
  leaving: z.int().nonnegative(),
  /** It has been `running` once. */
  established: z.boolean(),
});
export type RolloutReport = z.infer<typeof RolloutReport>;

const Parent = z.object({
  id: z.string(),
  /** How many instances it was told to keep; null before it was told anything. It only falls. */
  keep: z.int().nonnegative().nullable(),
  /** Null before it was heard. */
  report: RolloutReport.nullable(),
});
export type Parent = z.infer<typeof Parent>;

/**
 * The part that a deployment plays. `number` orders the rollouts of a name: even ones are made by applying, and going back from one is the odd number
 * after it. Who has heard of a higher number refuses a lower one.
 */
export const Rollout = z.discriminatedUnion("role", [
  z.object({ role: z.literal("none"), number: z.int().nonnegative() }),
  z.object({
    role: z.literal("child"),
    number: z.int().nonnegative(),
    direction: z.enum(["forward", "back"]),
    paused: z.boolean(),
    /** The parents go whatever the child's readiness: at the deadline, or because they hold ports that the child needs. */
    forced: z.boolean(),
    /** A host refused the child because a parent holds its port there. */
    blocked: z.boolean(),
    parents: z.array(Parent).min(1),
  }),
  z.object({
    role: z.literal("parent"),
    number: z.int().nonnegative(),
    successor: z.string(),
    keep: z.int().nonnegative(),
    /** What becomes of it when its last instance is gone. */
    afterwards: z.enum(["delete", "keep"]),
    /** A child that gave up: others that it was taking over from, until the successor has taken the task. */
    handing_over: z.array(z.string()).nullable(),
  }),
]);
export type Rollout = z.infer<typeof Rollout>;

/** Where a rollout has come to, for `rollout status`. */
export const ROLLOUT_STATUSES = ["progressing", "paused", "complete", "failed", "rolled_back", "superseded"] as const;
export const RolloutStatus = z.enum(ROLLOUT_STATUSES);
export type RolloutStatus = z.infer<typeof RolloutStatus>;

/** One manifest that was applied to a name, newest first in a list. The last REVISIONS_KEPT are kept. */
export const RevisionView = z.object({
  revision: z.int().positive().describe("Rises by one with each change of the name's manifest"),
  deployment_id: z.string(),
  created_at: z.iso.datetime(),
  actor: z.string(),
  cause: z.string().describe("`apply`, `scale`, or `rollback to N`"),
  outcome: z
    .string()
    .describe("`applied`, or for a rolling update: progressing, complete, failed, rolled_back, superseded"),
  message: z.string(),
  active: z.boolean().describe("Whether it holds the name now"),
  manifest: ManifestView,
});
export type RevisionView = z.infer<typeof RevisionView>;
export const REVISIONS_KEPT = 20;

/** One difference between two manifests. */
export const ManifestChange = z.object({ path: z.string(), from: z.unknown(), to: z.unknown() });
export type ManifestChange = z.infer<typeof ManifestChange>;
