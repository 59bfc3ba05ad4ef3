import { isTerminal } from "../../contract/deployment.ts";
import type { RolloutReport } from "../../contract/rollout.ts";
import type { Conclusion } from "../namespace/object.ts";
import { remote } from "../remote.ts";
import type { Sender } from "./deliver.ts";
import { draftOf, idOf } from "./draft.ts";
import { reportOf } from "./readiness.ts";
import { type DeploymentRecord, factsOf } from "./record.ts";

/** What the two sides of a rolling update, and the namespace, say to each other. */

/** What this deployment has, for the one that takes over from it. */
export function present(record: DeploymentRecord): RolloutReport {
  const facts = factsOf(record.identity, record.generation, 0);
  return reportOf((slot, generation) => idOf(facts, slot, generation), draftOf(record.state, facts));
}

/** Tells each parent how many it may keep, and takes what it has from its answer. */
export async function tellParents(record: DeploymentRecord, sender: Sender): Promise<void> {
  const { rollout } = record.state;
  if (rollout.role !== "child") return;
  const successor = record.identity.id;
  const reports = await Promise.all(
    rollout.parents.map(async ({ id, keep }) => {
      const report = await remote(sender.env.DEPLOYMENT, id).yieldTo(successor, rollout.number, keep);
      return { id, report: report ?? ("gone" as const) };
    }),
  );
  sender.apply({ type: "reported", reports });
}

/** Tells the child what there is. */
export async function tellSuccessor(record: DeploymentRecord, sender: Sender): Promise<void> {
  const { rollout } = record.state;
  if (rollout.role !== "parent") return;
  await remote(sender.env.DEPLOYMENT, rollout.successor).parentReported(record.identity.id, present(record));
}

/** Asks the version before this one to take over again. */
export async function handOver(record: DeploymentRecord, sender: Sender): Promise<void> {
  const { rollout } = record.state;
  if (rollout.role !== "parent" || rollout.handing_over === null) return;
  const { successor, number, handing_over } = rollout;
  const accepted = await remote(sender.env.DEPLOYMENT, successor).takeOver(record.identity.id, handing_over, number);
  sender.apply({ type: "handed_over", successor, accepted });
}

/** Tells the namespace what came of the rollout, once that is known. */
export async function conclude(record: DeploymentRecord, sender: Sender): Promise<void> {
  const { name, namespace } = record.identity.manifest;
  const conclusion = conclusionOf(record);
  if (conclusion !== null)
    await remote(sender.env.NAMESPACE, namespace).concluded(name, record.identity.id, conclusion);
}

function conclusionOf({ state }: DeploymentRecord): Conclusion | null {
  const { rollout, status, reason, message } = state;
  if (rollout.role === "child") return null;
  const isOver = status === "deleted" || isTerminal(status);
  if (rollout.role === "none") return { outcome: isOver ? "failed" : "complete", message, heir: null };
  if (rollout.handing_over !== null || !isOver) return null;
  const outcome = reason === "rolled_back" || status === "deleted" ? "rolled_back" : "failed";
  return { outcome, message, heir: rollout.successor };
}
