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
    created_at: iso(identity.created_at),
    updated_at: iso(head.updated_at),
    status: state.status,
    reason: state.reason,
    message: state.message,
    restart_count: state.restart_count,
    name: manifest.name,
    namespace: manifest.namespace,
    runtime: manifest.runtime,
    kind: manifest.kind,
    image: manifest.image ?? null,
    command: manifest.command,
    config: configView(manifest.config),
    replicas: manifest.replicas,
    ports: manifest.ports,
    labels: manifest.labels,
    environment: manifest.environment,
    volumes: manifest.volumes,
    ...(manifest.resources ? { resources: manifest.resources } : {}),
    ...(manifest.network ? { network: manifest.network } : {}),
    ...(manifest.working_dir != null ? { working_dir: manifest.working_dir } : {}),
    stop_timeout: manifest.stop_timeout,
    ...(manifest.placement ? { placement: manifest.placement } : {}),
    ...(digest === undefined ? {} : { image_digest: digest }),
    ...(identity.replaces === null ? {} : { replaces: identity.replaces }),
    instances: state.instances.map((instance) => instanceView(identity.id, instance)),
    revision: head.revision,
    allowedActions: allowedActions(DEPLOYMENT_ACTION_TABLE, state.status),
    event_cursor: head.event_cursor,
  };
}

function configView(config: DeploymentIdentity["manifest"]["config"]): Record<string, unknown> {
  if (!config) return {};
  const { password, ...rest } = config;
  return password == null ? rest : { ...rest, password: null };
}

function instanceView(deploymentId: string, instance: Instance): InstanceView {
  const base = {
    id: instanceId(workloadId(deploymentId, instance.slot), instance.generation),
    phase: instance.phase,
    host_id: instance.phase === "placing" ? null : instance.host_id,
    since: iso(instance.since),
  };
  switch (instance.phase) {
    case "running":
      return {
        ...base,
        ...(instance.address === null ? {} : { address: instance.address }),
        ...(instance.notes.length > 0 ? { notes: instance.notes } : {}),
      };
    case "exited": {
      const { exit, message } = instance;
      return { ...base, message, ...(exit ? { exit: { code: exit.code, signal: exit.signal, oom: exit.oom } } : {}) };
    }
    case "placing":
    case "starting":
    case "waiting":
      return instance.message === "" ? base : { ...base, message: instance.message };
    case "offered":
      return base;
  }
}

const iso = (ms: number): string => new Date(ms).toISOString();
