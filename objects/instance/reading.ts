import { BuildList, buildView } from "../../contract/build.ts";
import { workloadId } from "../../contract/id.ts";
import { SLOT } from "../../contract/instance.ts";
import { type InstanceAction, instanceAllowedActions, instanceVerdict } from "../../contract/instance-action.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { InstanceRecord } from "./kept.ts";
import { buildInQueue } from "./letters.ts";
import { standingOf } from "./view.ts";

/** Where the lines of one of an instance's programs are read. */
export type LogPlace = { host_id: string; workload_id: string; generation: number };

/** Its builds, newest first: JSON. */
export function buildsText({ identity, builds, state }: InstanceRecord): string {
  const list = { builds: builds.map((build) => buildView(identity.id, build)), active_build_id: buildInQueue(state) };
  return JSON.stringify(BuildList.parse(list));
}

/** Of a build, or (null) of the engine that serves, or else of what is being rolled out; null when no host has anything of it. */
export function logPlace({ identity, state, builds }: InstanceRecord, buildId: string | null): Reply<LogPlace | null> {
  if (buildId === null) {
    const runner = state.serving?.runner ?? state.candidate?.runner ?? state.job;
    if (!runner || runner.phase === "placing") return accept(null);
    const { host_id, slot, generation } = runner;
    return accept({ host_id, workload_id: workloadId(identity.id, slot), generation });
  }
  const build = builds.find(({ id }) => id === buildId);
  if (!build) return refuse("not_found", `${identity.name} has no build ${buildId}.`);
  const job = buildInQueue(state) === buildId && state.job?.phase !== "placing" ? state.job : null;
  const host_id = build.host_id ?? job?.host_id ?? null;
  if (host_id === null || build.generation === null) return accept(null);
  return accept({ host_id, workload_id: workloadId(identity.id, SLOT.build), generation: build.generation });
}

/** The refusal of a redeploy of what cannot be deployed, or null. */
export function missingBuild({ builds, identity }: InstanceRecord, buildId: string): Reply<never> | null {
  const build = builds.find(({ id }) => id === buildId);
  if (build?.deployable) return null;
  if (build === undefined) return refuse("not_found", `${identity.name} has no build ${buildId}.`);
  const why = build.status === "succeeded" ? "is not kept any more" : `is ${build.status}`;
  return refuse("action_not_allowed", `The build ${buildId} ${why}.`, {
    more: { action_code: "build_not_deployable" },
  });
}

/** The answer to what the matrix does not allow, or null. */
export function refusalOf(action: InstanceAction | "cancel-goal", record: InstanceRecord): Reply<never> | null {
  const standing = standingOf(record);
  const verdict = instanceVerdict(action, standing);
  if (verdict.allowed) return null;
  const { code, reason } = verdict;
  const allowedActions = instanceAllowedActions(standing);
  return refuse(
    code === "goal_conflict" ? "goal_conflict" : "action_not_allowed",
    `${action} of ${record.identity.name}: ${reason}.`,
    { more: { resource_status: record.state.status, action_code: code, reason, allowedActions } },
  );
}
