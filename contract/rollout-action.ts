import type { AllowedActions } from "./action.ts";
import type { DeploymentState } from "./deployment.ts";

/** What may be asked of a rolling update, by the new version's id. */
export const ROLLOUT_ACTIONS = ["pause", "resume", "undo"] as const;
export type RolloutAction = (typeof ROLLOUT_ACTIONS)[number];

/** Why an action on the rollout is not possible now, or null when it is. `already`: there is nothing left to do. */
export function rolloutObstacle(
  { rollout }: Pick<DeploymentState, "rollout">,
  action: RolloutAction,
): { code: string; reason: string; already: boolean } | null {
  if (rollout.role !== "child")
    return { code: "no_rollout", reason: "no rolling update to this version is going on", already: false };
  if (action === "undo")
    return rollout.direction === "forward"
      ? null
      : { code: "going_back", reason: "it is going back to this version already", already: true };
  if (rollout.paused === (action === "pause"))
    return {
      code: `rollout_${rollout.paused ? "paused" : "going_on"}`,
      reason: `it is ${rollout.paused ? "paused" : "going on"} already`,
      already: true,
    };
  return null;
}

export function rolloutActions(state: Pick<DeploymentState, "rollout">): AllowedActions {
  return Object.fromEntries(
    ROLLOUT_ACTIONS.map((action) => {
      const obstacle = rolloutObstacle(state, action);
      return [action, obstacle ? { allowed: false, code: obstacle.code, reason: obstacle.reason } : { allowed: true }];
    }),
  );
}
