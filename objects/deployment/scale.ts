import type { Instance } from "../../contract/deployment.ts";
import { note } from "../note.ts";
import { type Draft, leave, placing } from "./draft.ts";
import { isReady } from "./readiness.ts";

/** How many instances a deployment wants, how many it may have now, and how it comes from what it has to that. */

/** As declared, or as the autoscaler wants it within its bounds. */
export function desired({ facts, autoscaled }: Pick<Draft, "facts" | "autoscaled">): number {
  const { autoscale, replicas } = facts;
  if (autoscale === null) return replicas;
  return Math.min(Math.max(autoscaled?.replicas ?? replicas, autoscale.min), autoscale.max);
}

/** While a rollout goes on, each side has fewer than it wants: a parent keeps what it is told to, a child grows into the room that there is. */
export function target(draft: Draft): number {
  const wanted = desired(draft);
  const { rollout, instances, facts } = draft;
  switch (rollout.role) {
    case "none":
      return wanted;
    case "parent":
      return Math.min(wanted, rollout.keep);
    case "child": {
      if (rollout.forced) return wanted;
      const own = Math.min(instances.length, wanted);
      const others = othersOf(rollout.parents);
      if (rollout.paused || others === null) return own;
      return Math.min(wanted, Math.max(own, wanted + facts.max_surge - others));
    }
  }
}

/** What the parents have, with what is on its way out; null while one of them was not heard. */
export function othersOf(
  parents: readonly { report: { instances: readonly unknown[]; leaving: number } | null }[],
): number | null {
  let sum = 0;
  for (const { report } of parents) {
    if (report === null) return null;
    sum += report.instances.length + report.leaving;
  }
  return sum;
}

/** Brings the instances to the target: fills the lowest free slots, or lets go of those that serve least. */
export function resize(draft: Draft): void {
  const wanted = target(draft);
  for (let slot = 0; draft.instances.length < wanted; slot++)
    if (!draft.instances.some((instance) => instance.slot === slot)) draft.instances.push(placing(draft, slot, null));
  trim(draft, wanted);
}

/** Lets go of instances until `count` are left: first what does not run, then what is not ready, then the highest slots. */
export function trim(draft: Draft, count: number): void {
  if (draft.instances.length <= count) return;
  const { checks } = draft.facts;
  const worth = (instance: Instance) => (isReady(instance, checks) ? 2 : instance.phase === "running" ? 1 : 0);
  const extra = [...draft.instances]
    .sort((a, b) => worth(a) - worth(b) || b.slot - a.slot)
    .slice(0, draft.instances.length - count);
  for (const instance of extra) leave(draft, instance);
  draft.instances = draft.instances.filter((instance) => !extra.includes(instance));
}

/** Tells of a change of size, however it came about. */
export function noteScaled(draft: Draft, component: "api" | "autoscaler", from: number, to: number, why: string): void {
  if (from === to) return;
  const up = to > from;
  note(
    draft,
    "info",
    component,
    up ? "scale_up" : "scale_down",
    `Scaled ${up ? "up" : "down"} from ${from} to ${to} replicas: ${why}`,
    { direction: up ? "up" : "down", instance_count: to, replicas: draft.facts.replicas },
  );
}
