import type { Instance } from "../../contract/deployment.ts";
import { filled, type Reference, referencesOf } from "../../contract/reference.ts";
import type { Workload } from "../../contract/workload.ts";
import { remote } from "../remote.ts";
import type { Sender } from "./deliver.ts";
import type { DeploymentRecord } from "./record.ts";

/** Whether something is missing, before hosts are looked at: then the deployment has been told, and its namespace tells it when that is made. */
export async function lacksReferences(record: DeploymentRecord, sender: Sender): Promise<boolean> {
  const references = referencesOf(record.identity.manifest);
  if (references.length === 0) return false;
  const missing = await namespaceOf(record, sender).missing(record.identity.id, references);
  if (missing === null) return false;
  const placing = record.state.instances.filter(({ phase }) => phase === "placing");
  await tellMissing(record, references, placing, missing, sender);
  return true;
}

/** Puts what the manifest refers to into workloads that are about to be offered. Null when something is missing, as above. */
export async function resolveReferences(
  record: DeploymentRecord,
  instances: readonly Instance[],
  sender: Sender,
): Promise<((workload: Workload) => Workload) | null> {
  const { id, manifest } = record.identity;
  const references = referencesOf(manifest);
  if (references.length === 0) return (workload) => workload;
  const found = await namespaceOf(record, sender).resolve(id, references);
  if ("values" in found) return (workload) => ({ ...workload, spec: filled(workload.spec, manifest, found.values) });
  await tellMissing(record, references, instances, found.missing, sender);
  return null;
}

const namespaceOf = ({ identity }: DeploymentRecord, { env }: Sender) =>
  remote(env.NAMESPACE, identity.manifest.namespace);

async function tellMissing(
  record: DeploymentRecord,
  references: Reference[],
  instances: readonly Instance[],
  message: string,
  sender: Sender,
): Promise<void> {
  const slots = instances.map(({ slot, generation }) => ({ slot, generation }));
  sender.apply({ type: "unresolved", message, slots });
  // What was made between the two looks has been told to a deployment that did not wait yet.
  if ((await namespaceOf(record, sender).missing(record.identity.id, references)) === null)
    sender.apply({ type: "resolvable" });
}
