import type { Probing } from "../contract/health.ts";
import type { Observation, Runtime, Workload, WorkloadSpec } from "../contract/workload.ts";
import type { Want } from "./ledger.ts";

/** All that is known of one workload on this host. */
export type State = {
  readonly id: string;
  readonly fence: number;
  readonly want: Want;
  readonly owner: string;
  readonly probing: Probing;
  readonly spec: WorkloadSpec | null;
  /** The generations that are, or may be, on this host. */
  readonly present: ReadonlyMap<number, { runtime: Runtime; stopTimeoutMs: number }>;
  /** The latest observation of the fence's generation. */
  readonly seen: Observation | null;
};

/**
 * What to do with a command. `take`: it is news, keep it and act. `probing`: all that is new is which health checks are to run, and what runs is
 * left alone. `same`: already accepted. `stale`: of an older generation. `ended`: it asks for a generation that the control plane has already
 * ended with `gone`; only a new generation brings the workload back.
 */
export type Admission = "take" | "probing" | "same" | "stale" | "ended";

export function admit(
  kept: Pick<State, "fence" | "want" | "spec" | "probing"> | undefined,
  command: Pick<Workload, "generation" | "want" | "probing">,
): Admission {
  if (kept === undefined || command.generation > kept.fence) return "take";
  if (command.generation < kept.fence) return "stale";
  if (kept.want === "gone") return command.want === "gone" ? "same" : "ended";
  if (kept.want !== command.want || kept.spec === null) return "take";
  return kept.probing === probingOf(command) ? "same" : "probing";
}

/** Which checks a command has run; one that does not say means all. */
export const probingOf = ({ probing }: Pick<Workload, "probing">): Probing => probing ?? "all";

/** Whether the control plane's full set, which does not name the workload, sends it away. */
export const isLeftOut = (want: Want): boolean => want === "running" || want === "unclaimed";

/** The generations of a workload that must not be here. */
export function staleGenerations(state: State): number[] {
  if (state.want === "unclaimed") return [];
  const all = [...state.present.keys()].sort((a, b) => a - b);
  return state.want === "running" ? all.filter((generation) => generation !== state.fence) : all;
}

export type Step =
  | { do: "remove"; generation: number; runtime: Runtime; stopTimeoutMs: number; tell: boolean }
  | { do: "apply"; workload: Workload }
  | { do: "gone" }
  | { do: "rest" };

/**
 * The one thing to do next for a workload: first away with what must not be here, oldest first, and with what failed and may be half-made;
 * then up with what should run and has not run yet.
 */
export function nextStep(state: State): Step {
  const { id, fence, want, owner, spec, present, seen } = state;
  const phase = seen?.phase;

  const failed = phase === "failed" && present.has(fence) ? fence : undefined;
  const away = staleGenerations(state)[0] ?? failed;
  const what = away === undefined ? undefined : present.get(away);
  if (away !== undefined && what !== undefined) {
    const ran = phase === undefined || phase === "running" || phase === "preparing";
    return { do: "remove", generation: away, ...what, tell: want !== "running" && away === fence && ran };
  }

  switch (want) {
    case "running":
      if (spec === null || (seen !== null && phase !== "preparing" && phase !== "stopping" && phase !== "gone"))
        return { do: "rest" };
      return { do: "apply", workload: { id, generation: fence, owner, want: "running", spec } };
    case "gone":
    case "absent":
      return phase === "gone" ? { do: "rest" } : { do: "gone" };
    case "unclaimed":
      return { do: "rest" };
  }
}

export const isFinal = (observation: Observation): boolean =>
  observation.phase === "exited" || observation.phase === "failed" || observation.phase === "gone";

/** Whether what a driver saw is news: of this generation, of something that should run, and not behind what is already known. */
export function isNews(state: State, observation: Observation): boolean {
  if (observation.generation !== state.fence) return false;
  if (state.want !== "running" && state.want !== "unclaimed") return false;
  if (observation.phase === "gone" || observation.phase === "stopping") return false;
  if (state.seen === null) return true;
  if (isFinal(state.seen) && state.seen.phase !== "gone") return false;
  if (state.seen.phase === "running" && observation.phase === "preparing") return false;
  return !sameSight(state.seen, observation);
}

/** Whether two observations say the same, their moment aside. */
export function sameSight(a: Observation, b: Observation): boolean {
  return JSON.stringify({ ...a, at: 0 }) === JSON.stringify({ ...b, at: 0 });
}
