import type { DeploymentStatus } from "../../contract/deployment.ts";
import type { Manifest } from "../../contract/manifest.ts";
import type { RolloutReport } from "../../contract/rollout.ts";
import type { DeploymentRecord } from "./record.ts";
import { present } from "./rollout-delivery.ts";

/** What applying must know of the deployment that holds a name. */
export type Peek = {
  status: DeploymentStatus;
  manifest: Manifest;
  revision: number;
  report: RolloutReport;
  /** Those that it is taking over from itself. */
  parents: { id: string; report: RolloutReport }[];
  autoscaled: number | null;
};

/** A parent that has not been heard yet: as far as is known it serves. */
const UNHEARD: RolloutReport = { instances: [{ id: "", slot: 0, ready: true }], leaving: 0, established: true };

export function peekOf(record: DeploymentRecord): Peek {
  const { state, identity, revision } = record;
  const parents = state.rollout.role === "child" ? state.rollout.parents : [];
  return {
    status: state.status,
    manifest: identity.manifest,
    revision,
    report: present(record),
    parents: parents.map(({ id, report }) => ({ id, report: report ?? UNHEARD })),
    autoscaled: state.autoscaled?.replicas ?? null,
  };
}
