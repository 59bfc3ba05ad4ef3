import type { Probing } from "../contract/health.ts";
import type { Observation, WorkloadSpec } from "../contract/workload.ts";
import type { Entry } from "./entry.ts";

/** One generation of a workload that should run here, as those see it who watch over it: health checks, and what it uses. */
export type Subject = {
  readonly id: string;
  readonly generation: number;
  readonly spec: WorkloadSpec;
  readonly probing: Probing;
  /** How it was seen to run; null while it does not. */
  readonly seen: Extract<Observation, { phase: "running" }> | null;
};

export function subjectOf({ id, fence, want, spec, probing, seen }: Entry): Subject | null {
  if (want !== "running" || spec === null) return null;
  const runs = seen?.phase === "running" && seen.generation === fence;
  return { id, generation: fence, spec, probing, seen: runs ? seen : null };
}
