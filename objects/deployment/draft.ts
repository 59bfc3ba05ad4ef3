import type { DeploymentState, Instance, Leaving } from "../../contract/deployment.ts";
import type { Entry } from "../../contract/event.ts";
import type { OnFailure } from "../../contract/health.ts";
import { instanceId, workloadId } from "../../contract/id.ts";
import type { Rollout } from "../../contract/rollout.ts";
import type { Exit } from "../../contract/workload.ts";
import type { Need } from "./placement.ts";

/** What a decision needs to know beyond the state and the event. */
export type Facts = {
  /** The deployment's own id. */
  id: string;
  kind: "worker" | "job";
  /** As the manifest declares it. */
  replicas: number;
  autoscale: { min: number; max: number; target_cpu: number } | null;
  checks: readonly { readiness: boolean; on_failure: OnFailure; text: string }[];
  max_surge: number;
  max_unavailable: number;
  /** How long readiness or a rollout may make no progress, ms: the longest `start_period`, and `rollout_deadline`. */
  patience_ms: number;
  on_deadline: "drain" | "rollback" | "fail";
  retries: number;
  /** A finished job is deleted after this long, ms; null for never. */
  ttl_ms: number | null;
  need: Need;
  /** The last generation that was drawn. */
  generation: number;
  now: number;
  /** In 0..1. Spreads due times, so that many deployments do not wake at one instant. */
  jitter: number;
};

/** How an event ends the deployment; everything else about its status is computed from its instances. */
export type Outcome =
  | { status: "completed"; reason: string; message: string; exit: Exit }
  | { status: "failed"; reason: string; message: string; exit: Exit | null }
  | {
      status: "crash_loop_back_off" | "insufficient_resources" | "deleted";
      reason: string;
      message: string;
    };

/** A decision in the making: a copy of the state's moving parts, and what is to be told. */
export type Draft = {
  readonly facts: Facts;
  instances: Instance[];
  leaving: Leaving[];
  restarts: number;
  generation: number;
  established: boolean;
  rollout: Rollout;
  progress: { at: number; mark: number };
  autoscaled: { replicas: number; at: number } | null;
  retried: number;
  entries: Entry[];
  outcome: Outcome | null;
  /** What becomes of a child that ends in this decision, when its parent takes over again. */
  afterwards: "delete" | "keep";
};

export const draftOf = (
  state: Pick<
    DeploymentState,
    "instances" | "leaving" | "restart_count" | "established" | "rollout" | "progress" | "autoscaled" | "retried"
  >,
  facts: Facts,
): Draft => ({
  facts,
  instances: [...state.instances],
  leaving: [...state.leaving],
  restarts: state.restart_count,
  generation: facts.generation,
  established: state.established,
  rollout: state.rollout,
  progress: state.progress,
  autoscaled: state.autoscaled,
  retried: state.retried,
  entries: [],
  outcome: null,
  afterwards: "keep",
});

/** The id of an instance of this deployment, as users see it. */
export const idOf = (facts: Pick<Facts, "id">, slot: number, generation: number): string =>
  instanceId(workloadId(facts.id, slot), generation);

export function replace(draft: Draft, next: Instance): void {
  draft.instances = draft.instances.map((instance) => (instance.slot === next.slot ? next : instance));
}

/** The generation of an instance must be gone from its host. An instance without a host leaves nothing behind. */
export function leave(draft: Draft, instance: Instance, serving = false): void {
  if (instance.phase !== "placing") {
    const { slot, generation, host_id } = instance;
    draft.leaving.push({ slot, generation, host_id, serving });
  }
}

/** What served in these entries' place is no longer needed, or no longer there: they go now. */
export function stopServing(draft: Draft, which: (leaving: Leaving) => boolean): void {
  draft.leaving = draft.leaving.map((l) => (l.serving && which(l) ? { ...l, serving: false } : l));
}

type Placing = Extract<Instance, { phase: "placing" }>;

/** A new generation for a slot, which looks for a host. */
export function placing(draft: Draft, slot: number, trouble: Placing["trouble"]): Placing {
  draft.generation += 1;
  const { now } = draft.facts;
  return {
    phase: "placing",
    slot,
    generation: draft.generation,
    since: now,
    trouble,
    refused: {},
    message: "",
    recheck_at: now + ASK_AGAIN_MS,
    unresolved: false,
  };
}

/** How long an unanswered question stays before it is asked again, ms. */
export const ASK_AGAIN_MS = 30_000;

/** A starting instance is asked after when nothing was heard of it for a while. */
export const askAfter = (draft: Draft): number => Math.round(ASK_AGAIN_MS * (1 + draft.facts.jitter));

export type SlotGeneration = { slot: number; generation: number };

/** The instance of this slot, when it is of this generation and on this host. */
export const current = (draft: Draft, hostId: string, { slot, generation }: SlotGeneration): Instance | undefined =>
  draft.instances.find(
    (i) => i.slot === slot && i.generation === generation && i.phase !== "placing" && i.host_id === hostId,
  );

/** A host that has taken a generation removes the older ones of the same workload before it starts it; nothing more is said of them. */
export function superseded(draft: Draft, { slot, generation, host_id }: SlotGeneration & { host_id: string }): void {
  draft.leaving = draft.leaving.filter((l) => !(l.slot === slot && l.host_id === host_id && l.generation < generation));
}

/** Ends the deployment. What runs is left alone; what is on its way to running is taken back. */
export function end(draft: Draft, outcome: Outcome): void {
  draft.outcome = outcome;
  for (const instance of draft.instances)
    if (instance.phase === "offered" || instance.phase === "starting" || instance.phase === "waiting")
      leave(draft, instance);
  draft.instances = draft.instances.filter(({ phase }) => phase === "running" || phase === "exited");
}
