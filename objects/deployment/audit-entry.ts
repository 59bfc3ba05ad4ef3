import type { DeploymentIdentity } from "../../contract/deployment.ts";
import type { AuditEntry } from "../../contract/event.ts";

/** Who did what to a deployment, and its revision before and after. */
export function auditEntry(
  identity: DeploymentIdentity,
  action: string,
  actor: string,
  requestId: string,
  now: number,
  before: number | null,
  revision: number,
): AuditEntry {
  return {
    id: `${identity.id}:${action}:${revision}`,
    timestamp: new Date(now).toISOString(),
    actor,
    action,
    resource_kind: "deployment",
    resource_id: identity.id,
    resource_name: identity.manifest.name,
    namespace: identity.manifest.namespace,
    before_revision: before,
    after_revision: revision,
    request_id: requestId,
  };
}
