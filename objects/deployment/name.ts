import type { DeploymentState } from "../../contract/deployment.ts";
import { remote } from "../remote.ts";
import { isHandingOver } from "./letters.ts";
import type { DeploymentRecord } from "./record.ts";

/** Whether the name is given up by this change: when it is deleted, and no other version is to have it first. */
export function leavesName(before: DeploymentState | null, after: DeploymentState): boolean {
  const leaving = (state: DeploymentState | null) => state?.status === "deleted" && !isHandingOver(state);
  return leaving(after) && !leaving(before);
}

/** Gives the name up; the version that takes over again has it, when there is one. */
export function releaseName(
  env: Pick<Env, "NAMESPACE">,
  { identity: { id, manifest }, state: { rollout } }: DeploymentRecord,
): Promise<void> {
  const heir = rollout.role === "parent" && rollout.number % 2 === 1 ? rollout.successor : null;
  return remote(env.NAMESPACE, manifest.namespace).release(manifest.name, id, heir);
}
