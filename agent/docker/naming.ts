import { parseWorkloadId } from "../../contract/id.ts";
import type { Workload } from "../../contract/workload.ts";

/** The marks that the driver puts on what it makes, and finds it by. */
export const LABEL = {
  host: "lamplighter.host",
  runtime: "lamplighter.runtime",
  workload: "lamplighter.workload",
  generation: "lamplighter.generation",
  owner: "lamplighter.owner",
  namespace: "lamplighter.namespace",
  /** ms; only on what may not run for ever: for how long it may, and what it is given from SIGTERM to SIGKILL then. */
  runTimeout: "lamplighter.run-timeout",
  stopTimeout: "lamplighter.stop-timeout",
  /** Named as Ring names it, so that what finds containers by it keeps working. */
  ringDeployment: "ring_deployment",
} as const;

/** What both engines take in a name: it starts with a letter or digit, then also `_`, `.` and `-`. */
const plain = (text: string): string => text.replace(/[^a-zA-Z0-9_.-]/g, "-").replace(/^[^a-zA-Z0-9]+/, "") || "x";

/**
 * `<namespace>_<name>_<last 8 of the deployment's id>-<slot>-g<generation>`. The last eight characters of an id are random, so two
 * deployments of one name do not meet; should they all the same, the labels tell them apart and the second is refused.
 */
export function containerName(workload: Workload): string {
  const parsed = parseWorkloadId(workload.id);
  const tail = parsed === null ? plain(workload.id).slice(-40) : `${parsed.owner.slice(-8)}-${parsed.slot}`;
  const { namespace, name } = workload.spec;
  return plain(`${namespace.slice(0, 63)}_${name.slice(0, 100)}_${tail}-g${workload.generation}`);
}

/** The network that the workloads of one namespace share, and no other. */
export const networkName = (namespace: string): string => plain(`lamplighter_${namespace}`);

/** A named volume belongs to its namespace: the same source in another namespace is another volume. */
export const volumeName = (namespace: string, source: string): string => plain(`${namespace}_${source}`);
