import type { Source } from "../../contract/connection.ts";
import type { SourceStanding } from "../../contract/database-reader.ts";
import type { EngineTask } from "../../contract/engine-task.ts";
import { workloadId } from "../../contract/id.ts";
import { type InstanceState, SLOT } from "../../contract/instance.ts";
import type { EngineKey } from "../../contract/instance-key.ts";
import type { EngineOrders } from "../../contract/instance-report.ts";
import type { Sealed } from "../../contract/sealed.ts";
import type { Workload } from "../../contract/workload.ts";
import type { InstanceRecord } from "./kept.ts";
import { needOf } from "./placing.ts";
import { programSpec } from "./program.ts";

/** What an instance's program needs besides its record. */
export type Secrets = {
  source: Source;
  reportToken: Sealed;
  keySecret: Sealed;
  keys: EngineKey[];
  artifact: { hash: string; kept: boolean } | null;
};

/** One of the instance's programs as its host is to run it; null when the slot has nothing to run any more. */
export function workloadOf(
  record: InstanceRecord,
  { slot, generation }: { slot: number; generation: number },
  secrets: Secrets,
): Workload | null {
  const task = taskOf(record, slot, secrets);
  if (task === null) return null;
  const { identity, state } = record;
  const id = workloadId(identity.id, slot);
  const { memory_bytes, cpu_millis } = needOf(state, slot);
  const { operation } = state;
  const spec = programSpec({
    task,
    workload: { id, generation },
    namespace: identity.namespace,
    name: identity.name,
    labels: { "lamplighter.instance": identity.id },
    reports: `/instances/${identity.id}/reports`,
    reportToken: secrets.reportToken,
    password: secrets.source.password,
    keySecret: task.do === "serve" ? secrets.keySecret : null,
    memory_bytes,
    cpu_millis,
    run_timeout_ms: task.do === "serve" || !operation ? null : operation.due_at - operation.started_at,
  });
  return { id, generation, owner: identity.id, want: "running", spec };
}

/** Of an engine that is started again long after its rollout, nothing is under way. */
const NO_OPERATION = { id: "none", revision: 1 };

function taskOf(
  { identity, spec, state }: InstanceRecord,
  slot: number,
  { source, artifact, keys }: Secrets,
): EngineTask | null {
  const { operation, clearing } = state;
  const of = {
    operation: operation
      ? { id: operation.id, revision: operation.revision }
      : { ...NO_OPERATION, ...(clearing && { id: clearing.id }) },
    source: source.address,
    min_sync_interval: source.min_sync_interval,
  };
  const { schema } = identity;
  if (slot === SLOT.test) return { ...of, do: "test", schemas: [schema], config: spec.config };
  if (slot === SLOT.build)
    return operation?.build_id
      ? { ...of, do: "build", build_id: operation.build_id, schema, config: spec.config }
      : null;
  if (slot === SLOT.release)
    return state.job?.slot === slot ? { ...of, do: "release", instance_id: identity.id } : null;
  const engine = [state.serving, state.candidate].find((one) => one?.runner.slot === slot);
  if (!engine || artifact === null) return null;
  return {
    ...of,
    do: "serve",
    instance_id: identity.id,
    build_id: engine.build_id,
    schema,
    artifact,
    settings: engine.settings,
    orders: ordersOf(state, keys, source.standing),
  };
}

export const ordersOf = (
  { replication_paused, reloads }: Pick<InstanceState, "replication_paused" | "reloads">,
  keys: EngineKey[],
  source: SourceStanding | null,
): EngineOrders => ({
  replication: replication_paused ? "paused" : "running",
  reload: reloads,
  keys,
  ...(source === null ? {} : { source }),
});
