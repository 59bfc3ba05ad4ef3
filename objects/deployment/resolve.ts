import type { Instance } from "../../contract/deployment.ts";
import { filled, referencesOf } from "../../contract/reference.ts";
import type { Workload } from "../../contract/workload.ts";
import { remote } from "../remote.ts";
import type { Sender } from "./deliver.ts";
import type { DeploymentRecord } from "./record.ts";

/** A host stores a workload as one row, and an agent gets it in one frame: as JSON it may have so many bytes. */
const LARGEST_WORKLOAD = 1_500_000;

/**
 * Puts what the manifest refers to into workloads that are about to be offered. Null when something is missing: then the deployment has been told,
 * and its namespace tells it when that is made or changed.
 */
export async function resolveReferences(
  record: DeploymentRecord,
  instances: readonly Instance[],
  sender: Sender,
): Promise<((workload: Workload) => Workload) | null> {
  const { id, manifest } = record.identity;
  const references = referencesOf(manifest);
  if (references.length === 0) return (workload) => workload;
  const namespace = remote(sender.env.NAMESPACE, manifest.namespace);
  const found = await namespace.resolve(id, references);
  const missing = "missing" in found ? found.missing : null;
  if ("values" in found) {
    const fill = (workload: Workload) => ({ ...workload, spec: filled(workload.spec, manifest, found.values) });
    const sizes = Object.values(found.values).map((value) => sizeOf("text" in value ? value.text : value.sealed));
    const size = sizes.reduce((sum, one) => sum + one, 0);
    if (size <= LARGEST_WORKLOAD) return fill;
    // Nothing of it is missing, so nobody tells when it changes: it is looked at again when it is offered again.
    unresolved(`its configs and secrets have ${size} bytes in all, and may have ${LARGEST_WORKLOAD}`);
    return null;
  }
  unresolved(missing as string);
  // What was made between the two looks has been told to a deployment that did not wait yet.
  if ("values" in (await namespace.resolve(id, references))) sender.apply({ type: "resolvable" });
  return null;

  function unresolved(message: string): void {
    const slots = instances.map(({ slot, generation }) => ({ slot, generation }));
    sender.apply({ type: "unresolved", message, slots });
  }
}

const encoder = new TextEncoder();
const sizeOf = (text: string): number => encoder.encode(JSON.stringify(text)).length;
