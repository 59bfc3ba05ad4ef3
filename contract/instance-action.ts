import type { AllowedActions } from "./action.ts";
import type { InstanceStatus } from "./instance-status.ts";

/**
 * Which action an instance takes in which status: the one table that guards the actions, makes `allowedActions` and the answer of a refusal, and
 * that CLI and dashboard read. The cells are those of the source's page; a cell that is ours says so.
 */

export const INSTANCE_ACTIONS = [
  "provision",
  "rebuild",
  "reconfigure",
  "redeploy",
  "resize",
  "pause",
  "resume",
  "terminate",
  "delete",
  "reload",
  "pause-replication",
  "resume-replication",
] as const;
export type InstanceAction = (typeof INSTANCE_ACTIONS)[number];

/** The actions that can wait for a stable status, and what is wanted by each: the instance's desired state. */
export const GOAL_OF = { pause: "paused", resume: "running", terminate: "terminated" } as const;
export type GoalAction = keyof typeof GOAL_OF;
export type Wanted = (typeof GOAL_OF)[GoalAction];
export const isGoalAction = (action: InstanceAction): action is GoalAction => Object.hasOwn(GOAL_OF, action);

/**
 * `queued`: it is done when a stable status is reached. `needs`: `image`, an earlier successful build that is still kept (`img` on the source's
 * page); `nothing_running`, that no host and no source has anything of it. `ours`: the source's page has no such cell.
 */
export type Cell = { mode: "immediate" | "queued"; needs?: "image" | "nothing_running"; ours?: true };

const Y: Cell = { mode: "immediate" };
const Q: Cell = { mode: "queued" };
const img: Cell = { mode: "immediate", needs: "image" };
const ours: Cell = { mode: "immediate", ours: true };

export const INSTANCE_MATRIX: Readonly<Record<InstanceStatus, Readonly<Partial<Record<InstanceAction, Cell>>>>> = {
  registered: { provision: Y, resize: Y, delete: Y },
  testing_connection: {},
  queued: { pause: Q, terminate: Q },
  building: { pause: Q, terminate: Q },
  deploying: { resize: Y, pause: Q, terminate: Q },
  running: {
    rebuild: Y,
    reconfigure: Y,
    redeploy: img,
    resize: Y,
    pause: Y,
    terminate: Y,
    reload: Y,
    "pause-replication": Y,
    "resume-replication": Y,
  },
  pausing: { resume: Q, terminate: Q },
  paused: { rebuild: Y, redeploy: img, resize: Y, resume: Y, terminate: Y },
  resuming: { pause: Q, terminate: Q },
  failed: {
    provision: Y,
    rebuild: img,
    reconfigure: img,
    redeploy: img,
    terminate: Y,
    delete: { ...ours, needs: "nothing_running" },
  },
  stopped: { provision: Y, resize: Y, delete: ours },
  terminating: {},
  terminated: { provision: ours, delete: ours },
};

/** What of an instance decides about its actions, beyond its status. */
export type Standing = {
  status: InstanceStatus;
  /** The action that is queued, if any. */
  goal: GoalAction | null;
  /** A successful build is kept. */
  has_image: boolean;
  /** No host and no source has anything of it. */
  nothing_running: boolean;
  /** It rests because nobody asked, and a query brings it back. */
  wakes?: boolean;
};

export type Verdict =
  | { allowed: true; mode: "immediate" | "queued" }
  | { allowed: false; code: string; reason: string };

const refused = (code: string, reason: string): Verdict => ({ allowed: false, code, reason });

export function instanceVerdict(action: InstanceAction | "cancel-goal", standing: Standing): Verdict {
  const { status, goal } = standing;
  if (action === "cancel-goal")
    return goal === null ? refused("no_goal", "no action is queued") : { allowed: true, mode: "immediate" };
  const cell = INSTANCE_MATRIX[status][action];
  if (cell === undefined && action === "pause" && standing.wakes)
    return refused(
      `status_${status}`,
      `it is ${status} already, as nobody asked, and a query brings it back; idle_pause: null (instance update --no-idle-pause) keeps it paused until it is resumed`,
    );
  if (cell === undefined) return refused(`status_${status}`, `not possible while ${status}`);
  if (cell.needs === "image" && !standing.has_image)
    return refused("no_image", "there is no earlier successful build; use provision");
  if (cell.needs === "nothing_running" && !standing.nothing_running)
    return refused("still_running", "something of it is still on a host or at its source; terminate it first");
  if (cell.mode === "queued" && goal !== null && goal !== action)
    return refused("goal_conflict", `${goal} is queued already; cancel that goal first`);
  return { allowed: true, mode: cell.mode };
}

/** The full matrix for what an instance is now, `cancel-goal` included. */
export const instanceAllowedActions = (standing: Standing): AllowedActions =>
  Object.fromEntries(
    ([...INSTANCE_ACTIONS, "cancel-goal"] as const).map((action) => [action, instanceVerdict(action, standing)]),
  );
