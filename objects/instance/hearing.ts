import { parseWorkloadId } from "../../contract/id.ts";
import { type InstanceState, SLOT } from "../../contract/instance.ts";
import type { EngineOrders, Report } from "../../contract/instance-report.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { keepPart } from "./build-history.ts";
import type { InstanceRecord } from "./kept.ts";
import { engineKeys } from "./keys.ts";
import { isAwaited, type Told } from "./report.ts";
import { standingOf } from "./standing.ts";
import { keepVitals } from "./vitals.ts";
import { ordersOf } from "./workload.ts";

/** A report as the machine takes it, or why it is refused; what is kept beside the state is kept. Call it inside `commit`. */
export function heard(sql: SqlStorage, state: InstanceState, report: Report, now: number): Reply<Told> {
  const { workload_id, generation, operation, body } = report;
  const slot = parseWorkloadId(workload_id)?.slot ?? -1;
  const told: Told = { slot, generation, operation, body };
  if (!isAwaited(state, told))
    return refuse("stale_report", `${workload_id} generation ${generation} is not waited for.`);
  if (body.kind === "vitals" && state.serving?.runner.generation === generation)
    keepVitals(sql, generation, body.vitals, now);
  if (body.kind === "artifact" && slot === SLOT.build) keepPart(sql, body);
  return accept(told);
}

/** What its engine should be; of an instance that is not there any more, nothing. */
export const presentOrders = (sql: SqlStorage, record: InstanceRecord | null): EngineOrders =>
  record ? ordersOf(record.state, engineKeys(sql), standingOf(sql)) : { replication: "paused", reload: 0, keys: [] };
