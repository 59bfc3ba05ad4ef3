import { allowedActions } from "./action.ts";
import {
  DEPLOYMENT_ACTION_TABLE,
  type DeploymentIdentity,
  type DeploymentState,
  type DeploymentView,
  type Instance,
  type InstanceView,
} from "./deployment.ts";
import { instanceId, workloadId } from "./id.ts";
import type { Manifest } from "./manifest.ts";
import { rolloutActions } from "./rollout-action.ts";
import { timestamp } from "./timestamp.ts";
import type { Exit } from "./workload.ts";

/** What a view needs beyond identity and state. */
export type ViewHead = { revision: number; updated_at: number; event_cursor: number };

/** A deployment as the API answers it. The one place that decides what of it is shown; the registry password is not. */
export function deploymentView(identity: DeploymentIdentity, state: DeploymentState, head: ViewHead): DeploymentView {
  const { manifest } = identity;
  const digest = state.instances.flatMap((i) =>
    i.phase === "running" && i.image_digest !== null ? [i.image_digest] : [],
  )[0];
  return {
    id: identity.id,
    created_at: timestamp(identity.created_at),
    updated_at: timestamp(head.updated_at),
    status: state.status,
    reason: state.reason,
    message: state.message,
    restart_count: state.restart_count,
    name: manifest.name,
    namespace: manifest.namespace,
    runtime: manifest.runtime,
    kind: manifest.kind,
    image: manifest.image ?? "",
    command: manifest.command,
    config: configView(manifest),
    replicas: manifest.replicas,
    ...(manifest.autoscale
      ? { autoscale: manifest.autoscale, desired_replicas: autoscaledReplicas(manifest, state.autoscaled?.replicas) }
      : {}),
    ports: manifest.ports,
    labels: manifest.labels,
    environment: manifest.environment,
    volumes: manifest.volumes,
    ...(manifest.resources ? { resources: manifest.resources } : {}),
    ...(manifest.network ? { network: manifest.network } : {}),
    ...(manifest.working_dir != null ? { working_dir: manifest.working_dir } : {}),
    stop_timeout: manifest.stop_timeout,
    ...(manifest.placement ? { placement: manifest.placement } : {}),
    ...(manifest.health_checks.length > 0 ? { health_checks: manifest.health_checks } : {}),
    ...(manifest.kind === "worker"
      ? {
          max_surge: manifest.max_surge,
          max_unavailable: manifest.max_unavailable,
          rollout_deadline: manifest.rollout_deadline,
          on_deadline: manifest.on_deadline,
        }
      : { retries: manifest.retries }),
    ...(manifest.deadline == null ? {} : { deadline: manifest.deadline }),
    ...(manifest.ttl_after_finished == null ? {} : { ttl_after_finished: manifest.ttl_after_finished }),
    ...(digest === undefined ? {} : { image_digest: digest }),
    ...(identity.replaces === null ? {} : { replaces: identity.replaces }),
    ...rolloutView(state),
    ...exitView(state),
    instances: state.instances.map((instance) => instanceView(identity, instance)),
    revision: head.revision,
    allowedActions: { ...allowedActions(DEPLOYMENT_ACTION_TABLE, state.status), ...rolloutActions(state) },
    event_cursor: head.event_cursor,
  };
}

/** Every member that Ring's clients know, also those that were left out; none where nothing is pulled. */
function configView({ config, runtime }: Manifest): Record<string, unknown> {
  if (!config && runtime === "process") return {};
  const nothing = { image_pull_policy: "Always", server: null, username: null, user: null };
  return { ...nothing, ...config, password: null };
}

/** How many instances an autoscaled deployment is scaled to, within its bounds. */
function autoscaledReplicas({ autoscale, replicas }: Manifest, wanted: number | undefined): number {
  return autoscale ? Math.min(Math.max(wanted ?? replicas, autoscale.min), autoscale.max) : replicas;
}

function rolloutView({ rollout }: DeploymentState): Pick<DeploymentView, "rollout" | "parent_id"> {
  switch (rollout.role) {
    case "none":
      return {};
    case "parent":
      return { rollout: { role: "parent", successor_id: rollout.successor, keeps: rollout.keep } };
    case "child": {
      const { direction, paused, parents } = rollout;
      const shown = parents.map(({ id, report }) => ({
        id,
        instances: report?.instances.length ?? 0,
        ready: report?.instances.filter(({ ready }) => ready).length ?? 0,
        leaving: report?.leaving ?? 0,
      }));
      return {
        ...(shown[0] ? { parent_id: shown[0].id } : {}),
        rollout: { role: "child", direction, paused, parents: shown },
      };
    }
  }
}

const exitOf = ({ code, signal, oom, timed_out }: Exit) => ({ code, signal, oom, timed_out: timed_out === true });

function exitView(state: DeploymentState): Pick<DeploymentView, "exit"> {
  return (state.status === "completed" || state.status === "failed") && state.exit ? { exit: exitOf(state.exit) } : {};
}

function instanceView(identity: DeploymentIdentity, instance: Instance): InstanceView {
  const checks = identity.manifest.health_checks;
  const base = {
    id: instanceId(workloadId(identity.id, instance.slot), instance.generation),
    phase: instance.phase,
    host_id: instance.phase === "placing" ? null : instance.host_id,
    since: timestamp(instance.since),
  };
  switch (instance.phase) {
    case "running":
      return {
        ...base,
        ...(instance.address === null ? {} : { address: instance.address }),
        ...(instance.notes.length > 0 ? { notes: instance.notes } : {}),
        ...(instance.ports.length > 0 ? { ports: instance.ports } : {}),
        ...(checks.some(({ readiness }) => readiness)
          ? {
              ready: checks.every(
                ({ readiness }, i) =>
                  !readiness || instance.health.some(({ check, healthy }) => check === i && healthy),
              ),
            }
          : {}),
      };
    case "exited": {
      const { exit, message } = instance;
      return { ...base, message, ...(exit ? { exit: exitOf(exit) } : {}) };
    }
    case "placing":
    case "starting":
    case "waiting":
      return instance.message === "" ? base : { ...base, message: instance.message };
    case "offered":
      return base;
  }
}
