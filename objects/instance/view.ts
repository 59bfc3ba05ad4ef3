import { buildView } from "../../contract/build.ts";
import type { Engine, InstanceState, InstanceView } from "../../contract/instance.ts";
import { GOAL_OF, instanceAllowedActions, type Standing } from "../../contract/instance-action.ts";
import type { EngineVitals } from "../../contract/instance-report.ts";
import { changedSettings } from "../../contract/instance-settings.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { isBare, rowsText } from "./draft.ts";
import type { InstanceRecord } from "./kept.ts";
import { endpointOf, wakes } from "./route.ts";

export const standingOf = ({ state, spec, image }: Pick<InstanceRecord, "state" | "spec" | "image">): Standing => ({
  status: state.status,
  goal: state.goal?.action ?? null,
  has_image: image !== null,
  nothing_running: isBare(state),
  wakes: wakes(state, spec),
});

/** An instance as the API answers it. */
export function instanceView(record: InstanceRecord, event_cursor: number): InstanceView {
  const { identity, spec, state, revision, updated_at, builds, vitals, route, failed_engine } = record;
  const { serving, operation, goal, last_operation, last_error, drift } = state;
  const { created_at, ...named } = identity;
  const runner = serving?.runner;
  const present = serving && vitals?.generation === serving.runner.generation ? vitals.body : null;
  return {
    ...named,
    created_at: timestamp(created_at),
    updated_at: timestamp(updated_at),
    status: state.status,
    message: messageOf(state, present),
    desired_state: goal && GOAL_OF[goal.action],
    goal: goal && { ...goal, set_at: timestamp(goal.set_at) },
    operation: operation && {
      id: operation.id,
      action: operation.action,
      actor: operation.actor,
      build_id: operation.build_id,
      started_at: timestamp(operation.started_at),
      due_at: timestamp(operation.due_at),
      message: operation.message,
    },
    last_operation: last_operation && {
      ...last_operation,
      started_at: timestamp(last_operation.started_at),
      finished_at: timestamp(last_operation.finished_at),
    },
    last_error: last_error && { ...last_error, at: timestamp(last_error.at) },
    failed_engine: failed_engine && { ...failed_engine, at: timestamp(failed_engine.at) },
    degraded: state.degraded,
    health: serving && healthOf(serving, state),
    endpoint_url: endpointOf(identity.id, route),
    host_id: runner && "host_id" in runner ? runner.host_id : null,
    build_id: serving?.build_id ?? null,
    replication_paused: state.replication_paused,
    vitals: present,
    drift: drift && { ...drift, at: timestamp(drift.at) },
    settings: spec.settings,
    deployed: state.deployed?.settings ?? null,
    pending_changes: pendingChanges(record),
    config: spec.config,
    labels: spec.labels,
    unusable_keys: record.unusable_keys,
    pause_schedule: spec.pause_schedule,
    idle_pause: spec.idle_pause,
    latest_build: builds[0] ? buildView(identity.id, builds[0]) : null,
    revision,
    allowedActions: instanceAllowedActions(standingOf(record)),
    event_cursor,
  };
}

function pendingChanges({ spec, state, builds }: InstanceRecord): string[] {
  const { deployed } = state;
  if (deployed === null) return [];
  const build = builds.find(({ id }) => id === deployed.build_id);
  const config = build !== undefined && build.config !== spec.config ? ["config"] : [];
  return [...changedSettings(spec.settings, deployed.settings), ...config];
}

const BEHIND: readonly InstanceState["replication"][] = ["reconnecting", "resyncing", "drifted"];

export function healthOf(serving: Engine, state: InstanceState): "ok" | "degraded" | "unreachable" {
  if (serving.loaded === null) return "unreachable";
  const isBehind = BEHIND.includes(state.replication);
  return serving.trouble !== null || isBehind ? "degraded" : "ok";
}

/** The present state in a sentence: what is waited for, or what went wrong. */
function messageOf(state: InstanceState, vitals: EngineVitals | null): string {
  const { status, operation, serving, candidate, job, last_error, leaving } = state;
  const runner = job ?? candidate?.runner ?? null;
  const still = serving?.loaded ? "; the engine before it serves" : "";
  const waits = runner?.phase === "placing" && runner.message !== "" ? `: ${runner.message}` : "";
  const said = operation?.message ? `: ${operation.message}` : waits;
  const clears = job === null ? "" : "; what engines have left at the source is taken away";
  switch (status) {
    case "registered":
      return "never provisioned";
    case "testing_connection":
      return `the source is tested from the host that will run the engine${said}${still}`;
    case "queued":
      return `waits for build capacity${still}`;
    case "building":
      return `the engine is compiled from the schema${said}${still}`;
    case "deploying":
      return `the new engine is started and loads${said}${still}`;
    case "resuming":
      return `the engine is started and loads${said}`;
    case "pausing":
    case "terminating":
      return job === null ? goingText(leaving.length) : `takes away what engines have left at the source${said}`;
    case "paused":
      return last_error?.code === "left_at_source"
        ? `scaled to zero; ${last_error.message}`
        : PAUSED[state.paused_by ?? "user"];
    case "stopped":
      return `the engine was shut down on its host; provision starts it again${clears}`;
    case "terminated":
      return "nothing of it runs, and no build of it is kept";
    case "failed":
      return `${last_error?.message ?? "failed"}${clears}`;
    case "running":
      if (serving?.loaded == null) return serving?.trouble?.message ?? "the engine is being started again";
      if (serving.trouble !== null) return serving.trouble.message;
      if (state.replication === "drifted")
        return "serves what it had: the source's schema is not what was built; rebuild";
      return last_error === null
        ? `serves ${rowsText(presentRows(vitals) ?? serving.loaded)}`
        : `serves; the last rollout failed: ${last_error.message}`;
  }
}

const PAUSED = {
  user: "scaled to zero; resume starts it again",
  schedule: "scaled to zero by its schedule, which starts it again; so does resume",
  idle: "scaled to zero, as nobody asked; the next query with a key starts it again",
} as const;

const goingText = (count: number): string =>
  count === 0
    ? "nothing of it is on a host any more"
    : `waits for ${count === 1 ? "a program of it" : `${count} programs of it`} to end`;

/** As it is now, and not as it was loaded. */
function presentRows(vitals: EngineVitals | null): { rows: number; tables: number } | null {
  const counts = Object.values(vitals?.row_counts ?? {});
  return counts.length === 0 ? null : { rows: counts.reduce((sum, each) => sum + each, 0), tables: counts.length };
}
