import { BuildList, buildView } from "../../contract/build.ts";
import { workloadId } from "../../contract/id.ts";
import { SLOT } from "../../contract/instance.ts";
import { type InstanceAction, instanceAllowedActions, instanceVerdict } from "../../contract/instance-action.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { cursor } from "../journal.ts";
import { buildLog } from "./build-log.ts";
import { engineLog } from "./engine-log.ts";
import type { InstanceRecord } from "./kept.ts";
import { buildInQueue } from "./letters.ts";
import { standingOf } from "./view.ts";

/** Where the lines of one of an instance's programs are read. */
export type LogPlace = { host_id: string; workload_id: string; generation: number };
/** What can be read of one now: on its host, or (JSON) what was kept of it here. `over`: no more will come. */
export type LogState = { place: LogPlace | null; kept: string | null; over: boolean; cursor: number };

export type LogWanted = { build: string | null; failed: boolean };

/** Its builds, newest first: JSON. */
export function buildsText({ identity, builds, state }: InstanceRecord): string {
  const list = { builds: builds.map((build) => buildView(identity.id, build)), active_build_id: buildInQueue(state) };
  return JSON.stringify(BuildList.parse(list));
}

/** Of a build, of the engine that failed last, or of the one that serves, or else of what is being rolled out. */
export function logState(sql: SqlStorage, record: InstanceRecord, what: LogWanted): Reply<LogState> {
  const { identity, state } = record;
  if (what.build !== null) return buildLogState(sql, record, what.build);
  const failed = failedLog(sql, identity.id);
  if (what.failed) return accept({ place: null, kept: null, ...failed, over: true, cursor: cursor(sql) });
  const runner = state.serving?.runner ?? state.candidate?.runner ?? state.job;
  const place = runner && runner.phase !== "placing" ? placeOf(identity.id, runner) : null;
  const over = state.status === "terminated";
  // When nothing runs, the last that there was is what it failed of.
  if (place === null && state.status === "failed" && failed !== null)
    return accept({ ...failed, over, cursor: cursor(sql) });
  return accept({ place, kept: null, over, cursor: cursor(sql) });
}

/** What was kept of the engine that failed last. */
function failedLog(sql: SqlStorage, id: string): { place: LogPlace; kept: string } | null {
  const log = engineLog(sql);
  return (
    log && { place: placeOf(id, { host_id: "", slot: SLOT.engines[0], generation: log.generation }), kept: log.lines }
  );
}

const placeOf = (id: string, { host_id, slot, generation }: { host_id: string; slot: number; generation: number }) => ({
  ...{ host_id, workload_id: workloadId(id, slot), generation },
});

function buildLogState(sql: SqlStorage, { identity, state, builds }: InstanceRecord, buildId: string): Reply<LogState> {
  const build = builds.find(({ id }) => id === buildId);
  if (!build) return refuse("not_found", `${identity.name} has no build ${buildId}.`);
  const { generation, status } = build;
  const at = [state.job, ...state.leaving].find((one) => one?.slot === SLOT.build && one.generation === generation);
  const host_id = at && "host_id" in at ? at.host_id : null;
  const kept = buildLog(sql, buildId);
  const place =
    generation === null || (host_id === null && kept === null)
      ? null
      : placeOf(identity.id, { host_id: host_id ?? "", slot: SLOT.build, generation });
  const isEnded = status === "succeeded" || status === "failed";
  // What is still to go from its host is taken from there first.
  return accept({ place, kept, over: kept !== null || (isEnded && host_id === null), cursor: cursor(sql) });
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

/** The refusal of cancelling what neither waits for its turn nor runs, or null. */
export function endedBuild({ builds, identity, state }: InstanceRecord, buildId: string): Reply<never> | null {
  if (buildInQueue(state) === buildId) return null;
  const build = builds.find(({ id }) => id === buildId);
  if (build === undefined) return refuse("not_found", `${identity.name} has no build ${buildId}.`);
  return refuse("action_not_allowed", `The build ${buildId} is not under way: it is ${build.status}.`, {
    more: { action_code: "build_ended" },
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
