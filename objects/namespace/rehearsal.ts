import type { Manifest } from "../../contract/manifest.ts";
import { diffManifests } from "../../contract/manifest-diff.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import { stale } from "../request.ts";
import type { Active, Verdict } from "./decide.ts";
import { withoutPassword } from "./revision.ts";

/**
 * What applying a manifest would do, without doing it.
 * @param renewed what it refers to that has changed since
 */
export function rehearsal(
  manifest: Manifest,
  mutation: Mutation,
  active: Active | null,
  verdict: Verdict,
  renewed: readonly string[],
): Reply<Answer & { action: Verdict["action"] }> {
  const revision = active?.revision ?? 0;
  const before = active?.manifest ?? null;
  const body = JSON.stringify({
    dry_run: true,
    action: verdict.action,
    ...("id" in verdict ? { deployment_id: verdict.id } : {}),
    ...(verdict.action === "replace" ? { why: verdict.why } : {}),
    changes: before === null ? [] : diffManifests(before, manifest),
    renewed,
    manifest: withoutPassword(manifest),
  });
  return stale(mutation, revision) ?? accept({ status: 200, revision, action: verdict.action, body });
}
