import { type DeploymentStatus, isRetried, isTerminal } from "../../contract/deployment.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { diffManifests } from "../../contract/manifest-diff.ts";
import type { RolloutReport } from "../../contract/rollout.ts";

/** A version that has instances of the name. */
export type Version = { id: string; report: RolloutReport };

/** The deployment that holds the name, as far as applying needs to know it. */
export type Active =
  | {
      id: string;
      status: DeploymentStatus;
      manifest: Manifest;
      revision: number;
      /** Null when its own object has not made it yet. */
      report: RolloutReport | null;
      /** Those that it is taking over from itself. */
      parents: readonly Version[];
      autoscaled: number | null;
    }
  /** Gone, though its name was not released yet. */
  | { id: string; status: "deleted"; manifest: null; revision: 0 };

export type Verdict =
  | { action: "create" }
  /** The same manifest, and the deployment is well or on its way: nothing is replaced, its restart count starts over. */
  | { action: "unchanged"; id: string }
  /** Only what its instances do not notice is different: it stays, and is changed. */
  | { action: "amend"; id: string }
  /** A new deployment takes over step by step from `parents`; `dropped` have nothing that serves, and go at once. */
  | { action: "roll"; id: string; parents: Version[]; dropped: string[]; autoscaled: number | null }
  /** A new deployment takes the name, and what was there goes at once. */
  | { action: "replace"; id: string; dropped: string[]; why: string };

/** What can change in place: how many there are, and how an update goes about it. */
const AMENDABLE: ReadonlySet<string> = new Set([
  "replicas",
  "autoscale",
  "max_surge",
  "max_unavailable",
  "rollout_deadline",
  "on_deadline",
  "ttl_after_finished",
]);

/**
 * What applying a manifest comes to. The same manifest is a no-op while its deployment is well; on a deployment that has ended, or is in
 * trouble, it starts over with a new one.
 * @param force replace at once, whatever is there
 * @param renewed a secret or config that the manifest names has changed since
 */
export function verdictOf(
  manifest: Manifest,
  active: Active | null,
  { force = false, renewed = false }: { force?: boolean; renewed?: boolean } = {},
): Verdict {
  if (active === null || active.manifest === null || active.status === "deleted") return { action: "create" };
  const { id, status } = active;
  const stuck = isTerminal(status) || isRetried(status);
  const changes = diffManifests(active.manifest, manifest);
  if (!force && !stuck && !renewed) {
    if (changes.length === 0) return { action: "unchanged", id };
    const isSmall = changes.every(({ path }) => AMENDABLE.has(path.split(/[.[]/)[0] as string));
    if (isSmall && manifest.kind === "worker") return { action: "amend", id };
  }
  const versions = [...(active.report ? [{ id, report: active.report }] : []), ...active.parents];
  const isServing = ({ report }: Version) => report.instances.some(({ ready }) => ready);
  const parents = versions.filter(isServing);
  const dropped = [id, ...active.parents.map((parent) => parent.id)].filter(
    (one) => !parents.some((parent) => parent.id === one),
  );
  const why = obstacle(manifest, active.manifest, parents, force);
  if (why !== null) return { action: "replace", id, dropped: [id, ...active.parents.map((parent) => parent.id)], why };
  return { action: "roll", id, parents, dropped, autoscaled: active.autoscaled };
}

/** Why one version cannot take over from the other step by step; null when it can. */
function obstacle(manifest: Manifest, before: Manifest, parents: readonly Version[], force: boolean): string | null {
  if (force) return "it was forced (`force`)";
  if (manifest.kind === "job" || before.kind === "job") return "a job is not updated, it runs anew";
  if (parents.length === 0) return "nothing of it was ready to serve";
  if (manifest.health_checks.length === 0) return "the new version has no health check that could tell when it serves";
  return null;
}
