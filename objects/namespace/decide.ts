import { type DeploymentStatus, isRetried, isTerminal } from "../../contract/deployment.ts";
import type { Manifest } from "../../contract/manifest.ts";

/** The deployment that holds the name, as far as applying needs to know it. */
export type Active =
  | { id: string; status: DeploymentStatus; manifest: Manifest; revision: number }
  /** Gone, though its name was not released yet. */
  | { id: string; status: "deleted"; manifest: null; revision: 0 };

export type Verdict =
  | { action: "create" }
  /** The same manifest, and the deployment is well or on its way: nothing is replaced, its restart count starts over. */
  | { action: "unchanged"; id: string }
  | { action: "replace"; id: string };

/**
 * What applying a manifest comes to. The same manifest is a no-op while its deployment is well; on a deployment that has ended, or is in
 * trouble, it starts over with a new one.
 */
export function verdictOf(manifest: Manifest, active: Active | null): Verdict {
  if (active === null || active.manifest === null || active.status === "deleted") return { action: "create" };
  const stuck = isTerminal(active.status) || isRetried(active.status);
  return !stuck && sameManifest(manifest, active.manifest)
    ? { action: "unchanged", id: active.id }
    : { action: "replace", id: active.id };
}

/** Both have been parsed by the same schema, so their keys are in the same order but for free-form maps, whose order does not count. */
export const sameManifest = (a: Manifest, b: Manifest): boolean => canonical(a) === canonical(b);

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(
          Object.entries(inner)
            .filter(([, v]) => v != null)
            .sort(([x], [y]) => (x < y ? -1 : 1)),
        )
      : inner,
  );
