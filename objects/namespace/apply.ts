import type { DeploymentIdentity, DeploymentView } from "../../contract/deployment.ts";
import { deploymentView } from "../../contract/deployment-view.ts";
import { newId } from "../../contract/id.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import { initial } from "../deployment/decide.ts";
import { factsOf } from "../deployment/record.ts";
import { once, stale } from "../request.ts";
import { addAmendment, addCreation, addReplacement, claim, takeLeftovers } from "./claim.ts";
import type { Active, Verdict } from "./decide.ts";
import { ensure } from "./existence.ts";
import { remember } from "./reference.ts";
import type { Head } from "./resource.ts";
import { addRevision, revisionsOf, settleRevision } from "./revision.ts";

/**
 * `cause` is what the revision says of why; `force` replaces at once; `holder`: only if this deployment holds the name.
 */
export type Apply = {
  manifest: Manifest;
  mutation: Mutation;
  dryRun: boolean;
  force?: boolean;
  cause?: string;
  holder?: string;
  /** The schedule that this is a run of; a run takes nobody else's name. */
  owner_schedule?: string;
  /** Whether the namespace may be brought about by it; true when left out. */
  mayCreateNamespace?: boolean;
};
export type Applied = Answer & { action: Verdict["action"] };

/**
 * Carries a verdict out: whose the name is from now on, and what deployments are to be told. The answer is 201 with the body, or 200 with the
 * id of the deployment that stays. Call it inside `commit`.
 */
export function decided(
  sql: SqlStorage,
  namespace: string,
  input: Apply,
  active: Active | null,
  verdict: Verdict,
  now: number,
): Reply<Applied> {
  const { manifest, mutation, cause = "apply", owner_schedule } = input;
  return once<Applied>(sql, mutation, now, () => {
    const { action } = verdict;
    const revision = active?.revision ?? 0;
    const refusal = stale(mutation, revision);
    if (refusal) return refusal;
    if (owner_schedule !== undefined && verdict.action !== "create")
      return refuse("name_taken", `${manifest.name} is the name of ${verdict.id}, which is no run of this schedule.`);
    if (verdict.action === "unchanged") return accept({ status: 200, body: verdict.id, revision, action });
    const head: Head = { namespace, now, by: mutation };
    ensure(sql, head);
    const amends = verdict.action === "amend";
    const deployment_id = amends ? verdict.id : newId("deployment", now);
    const number = addRevision(sql, manifest.name, {
      deployment_id,
      manifest,
      created_at: now,
      actor: mutation.actor,
      cause: amends && cause === "apply" ? "scale" : cause,
      outcome: verdict.action === "roll" ? "progressing" : "applied",
    });
    if (amends) {
      addAmendment(sql, deployment_id, manifest, mutation, now);
      return accept({ status: 200, body: deployment_id, revision, action });
    }
    const identity: DeploymentIdentity = {
      ...identityOf(deployment_id, manifest, verdict, number, now),
      ...(owner_schedule === undefined ? {} : { owner_schedule }),
    };
    remember(sql, identity, head);
    claim(sql, manifest.name, identity.id);
    addCreation(sql, identity, mutation, now);
    if (verdict.action !== "create") settleSuperseded(sql, manifest.name, verdict.id, identity.id);
    for (const id of "dropped" in verdict ? verdict.dropped : [])
      addReplacement(sql, id, identity.id, "why" in verdict ? verdict.why : "nothing of it served", mutation, now);
    for (const id of takeLeftovers(sql, manifest.name))
      addReplacement(sql, id, identity.id, "another version was applied", mutation, now);
    return accept({ status: 201, body: JSON.stringify(firstView(identity)), revision: 1, action });
  });
}

function identityOf(id: string, manifest: Manifest, verdict: Verdict, number: number, now: number): DeploymentIdentity {
  return {
    id,
    created_at: now,
    manifest,
    replaces: "id" in verdict ? verdict.id : null,
    takes_over:
      verdict.action === "roll"
        ? { number: 2 * number, parents: verdict.parents.map((parent) => parent.id), autoscaled: verdict.autoscaled }
        : null,
    force_replace: verdict.action === "replace" ? verdict.why : null,
  };
}

/** The version that was being rolled out, when another is applied before it was done. */
function settleSuperseded(sql: SqlStorage, name: string, id: string, by: string): void {
  const row = revisionsOf(sql, name).find(({ deployment_id }) => deployment_id === id);
  if (row?.outcome === "progressing")
    settleRevision(sql, name, id, "superseded", `${by} was applied before it was complete`);
}

/** What the DeploymentObject will make of the same identity: so the answer of a creation is known, and kept, before its object is asked. */
function firstView(identity: DeploymentIdentity): DeploymentView {
  const { state, entries } = initial(factsOf(identity, 0, identity.created_at), identity);
  return deploymentView(identity, state, {
    revision: 1,
    updated_at: identity.created_at,
    event_cursor: entries.length,
  });
}
