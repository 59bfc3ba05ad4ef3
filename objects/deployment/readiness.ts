import type { Instance } from "../../contract/deployment.ts";
import type { RolloutReport } from "../../contract/rollout.ts";
import type { Draft, Facts } from "./draft.ts";

/** An instance is ready when it runs and every readiness check of it has been green for its `min_healthy_time`; the agent measures that. */
export function isReady(instance: Instance, checks: Facts["checks"]): boolean {
  if (instance.phase !== "running") return false;
  return checks.every(
    ({ readiness }, check) => !readiness || instance.health.some((known) => known.check === check && known.healthy),
  );
}

export const readyCount = (draft: Pick<Draft, "instances" | "facts">): number =>
  draft.instances.filter((instance) => isReady(instance, draft.facts.checks)).length;

/** Whether readiness still holds the deployment back: a job never, and nothing that has been `running` once. */
export const isGated = ({ facts, established }: Pick<Draft, "facts" | "established">): boolean =>
  !established && facts.kind === "worker" && facts.checks.some(({ readiness }) => readiness);

/** What a person must know of the first instance that is not ready: which check, and what it said. */
export function unreadiness({ instances, facts }: Pick<Draft, "instances" | "facts">): string {
  for (const instance of instances) {
    if (instance.phase !== "running" || isReady(instance, facts.checks)) continue;
    const index = facts.checks.findIndex(
      ({ readiness }, check) => readiness && !instance.health.some((known) => known.check === check && known.healthy),
    );
    const known = instance.health.find(({ check }) => check === index);
    const which = `instance ${instance.slot}, ${facts.checks[index]?.text ?? "a readiness check"}`;
    if (known === undefined) return `${which}: no result yet`;
    return known.status === "success"
      ? `${which}: green, for its min_healthy_time`
      : `${which}: ${known.message || known.status}`;
  }
  return "";
}

/** What this deployment has, for the one that takes over from it. */
export const reportOf = (
  id: (slot: number, generation: number) => string,
  { instances, leaving, established, facts }: Pick<Draft, "instances" | "leaving" | "established" | "facts">,
): RolloutReport => ({
  instances: instances
    .filter(({ phase }) => phase !== "exited")
    .map((instance) => ({
      id: id(instance.slot, instance.generation),
      slot: instance.slot,
      ready: isReady(instance, facts.checks),
    })),
  leaving: leaving.length,
  established,
});
