import type { Usage } from "../../contract/health.ts";
import { parseWorkloadId } from "../../contract/id.ts";
import { current, type Draft, replace } from "./draft.ts";
import { desired, noteScaled } from "./scale.ts";

/** How far the average may be from the target before anything is done, in points of percent; Ring's. */
const DEAD_BAND = 10;
/** From the last decision, of either direction, ms; Ring's. */
const COOL_DOWN_MS = { up: 60_000, down: 300_000 };
/** Older figures say nothing, ms. */
const STALE_MS = 120_000;

/** Notes what instances use; their figures come at least every minute, so that looking when one comes is often enough. */
export function onUsed(draft: Draft, hostId: string, usages: readonly Usage[]): void {
  const { now } = draft.facts;
  for (const { id, generation, cpu_usage_percent } of usages) {
    const slot = parseWorkloadId(id)?.slot;
    const instance = slot === undefined ? undefined : current(draft, hostId, { slot, generation });
    if (instance?.phase === "running") replace(draft, { ...instance, cpu: { percent: cpu_usage_percent, at: now } });
  }
}

/**
 * One instance more or less when the average CPU is off the target: only of a deployment that runs whole, is in no rollout, and whose every instance
 * was measured lately. What is outside the bounds is brought inside by `desired`, at once.
 */
export function autoscale(draft: Draft): void {
  const { facts, rollout, instances, autoscaled } = draft;
  const bounds = facts.autoscale;
  if (bounds === null || rollout.role !== "none" || !draft.established) return;
  const size = desired(draft);
  const figures = instances.flatMap((instance) =>
    instance.phase === "running" && instance.cpu !== null && facts.now - instance.cpu.at <= STALE_MS
      ? [instance.cpu.percent]
      : [],
  );
  if (figures.length !== size || instances.length !== size || size === 0) return;
  const average = figures.reduce((sum, percent) => sum + percent, 0) / size;
  const next =
    average > bounds.target_cpu + DEAD_BAND ? size + 1 : average < bounds.target_cpu - DEAD_BAND ? size - 1 : size;
  const replicas = Math.min(Math.max(next, bounds.min), bounds.max);
  if (replicas === size) return;
  const cool = replicas > size ? COOL_DOWN_MS.up : COOL_DOWN_MS.down;
  if (autoscaled !== null && facts.now - autoscaled.at < cool) return;
  draft.autoscaled = { replicas, at: facts.now };
  noteScaled(
    draft,
    "autoscaler",
    size,
    replicas,
    `CPU is at ${Math.round(average)} %, the target is ${bounds.target_cpu} %`,
  );
}
