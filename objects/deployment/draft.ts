import type { DeploymentState, Instance, Leaving } from "../../contract/deployment.ts";
import type { Entry } from "../../contract/event.ts";
import type { Exit } from "../../contract/workload.ts";
import type { Need } from "./placement.ts";

/** What a decision needs to know beyond the state and the event. */
export type Facts = {
  kind: "worker" | "job";
  replicas: number;
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
  | { status: "failed" | "crash_loop_back_off" | "insufficient_resources" | "deleted"; reason: string; message: string };

/** A decision in the making: a copy of the state's moving parts, and what is to be told. */
export type Draft = {
  readonly facts: Facts;
  instances: Instance[];
  leaving: Leaving[];
  restarts: number;
  generation: number;
  entries: Entry[];
  outcome: Outcome | null;
};

export const draftOf = (state: Pick<DeploymentState, "instances" | "leaving" | "restart_count">, facts: Facts): Draft => ({
  facts,
  instances: [...state.instances],
  leaving: [...state.leaving],
  restarts: state.restart_count,
  generation: facts.generation,
  entries: [],
  outcome: null,
});

export function replace(draft: Draft, next: Instance): void {
  draft.instances = draft.instances.map((instance) => (instance.slot === next.slot ? next : instance));
}

/** The generation of an instance must be gone from its host. An instance without a host leaves nothing behind. */
export function leave(draft: Draft, instance: Instance): void {
  if (instance.phase !== "placing") {
    draft.leaving.push({ slot: instance.slot, generation: instance.generation, host_id: instance.host_id });
  }
}

/** A new generation for a slot, which looks for a host. */
export function placing(draft: Draft, slot: number, trouble: Extract<Instance, { phase: "placing" }>["trouble"]): Instance {
  draft.generation += 1;
  const { now } = draft.facts;
  return { phase: "placing", slot, generation: draft.generation, since: now, trouble, refused: {}, message: "", recheck_at: now + ASK_AGAIN_MS };
}

/** How long an unanswered question stays before it is asked again, ms. */
export const ASK_AGAIN_MS = 30_000;
