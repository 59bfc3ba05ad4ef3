import type { Entry } from "../../contract/event.ts";
import type { Engine, Goal, InstanceSpec, InstanceState, Operation, Runner } from "../../contract/instance.ts";
import type { InstanceAction, Standing } from "../../contract/instance-action.ts";
import { failureOf, type InstanceFailure } from "../../contract/instance-failure.ts";
import type { InstanceSize } from "../../contract/instance-size.ts";
import {
  INSTANCE_NEXT,
  type InstanceStatus,
  isStable,
  type PassingStatus,
  STATUS_DEADLINE_MS,
} from "../../contract/instance-status.ts";
import { note } from "../note.ts";

/** What a decision is made of besides state and event. Ids are drawn before, so that the decision has no chance in it. */
export type InstanceFacts = {
  instance_id: string;
  now: number;
  /** 0..1 */
  jitter: number;
  spec: InstanceSpec;
  /** The newest build whose artifact is kept. */
  image: string | null;
  /** When the engine was last known to answer a query; null: not since it serves. */
  busy_at: number | null;
  ids: { operation: string; build: string };
};

/** What is to become of a build's row. */
export type BuildChange =
  | { type: "queued"; id: string }
  | { type: "started"; id: string; generation: number }
  | {
      type: "succeeded";
      id: string;
      host_id: string;
      artifact: { hash: string; bytes: number };
      schema_hash: string;
      query_schema: string | null;
      tables: number;
      warnings: string[];
    }
  | { type: "ended"; id: string; status: "failed"; failure: InstanceFailure };

export type Draft = {
  readonly facts: InstanceFacts;
  status: InstanceStatus;
  operation: Operation | null;
  entries: Entry[];
  builds: BuildChange[];
  /** The size that is to be stored. */
  size: InstanceSize | null;
  /** Every artifact is to go. */
  purge: boolean;
} & { -readonly [K in keyof Omit<InstanceState, "status" | "operation">]: Common[K] };

type Common = {
  generation: number;
  goal: Goal | null;
  job: Runner | null;
  serving: Engine | null;
  candidate: Engine | null;
  leaving: InstanceState["leaving"];
  deployed: InstanceState["deployed"];
  replication_paused: boolean;
  replication: InstanceState["replication"];
  home: string | null;
  reloads: number;
  drift: InstanceState["drift"];
  source_traces: boolean | null;
  clearing: InstanceState["clearing"];
  last_error: InstanceState["last_error"];
  last_operation: InstanceState["last_operation"];
  degraded: boolean;
  paused_by: InstanceState["paused_by"];
  schedule_until: number;
  idle_since: number;
};

export const draftOf = (state: InstanceState, facts: InstanceFacts): Draft => ({
  ...state,
  leaving: [...state.leaving],
  facts,
  entries: [],
  builds: [],
  size: null,
  purge: false,
});

/** Takes the edge to another status. A passing one gets its deadline. */
export function become(draft: Draft, status: InstanceStatus): void {
  const before = draft.status;
  if (status === before) return;
  if (!(INSTANCE_NEXT[before] as readonly string[]).includes(status))
    throw new Error(`no edge from ${before} to ${status}`);
  draft.status = status;
  // Whatever follows takes away what is left, or is told that it may.
  const isLeft = (status === "failed" || status === "stopped") && draft.source_traces === true;
  draft.clearing = isLeft ? { id: draft.facts.ids.operation, until: null } : null;
  const data = { old_status: before, new_status: status, action: draft.operation?.action ?? null };
  note(draft, "info", "scheduler", "state_transition", `Status changed from ${before} to ${status}`, data);
  if (!isStable(status)) extend(draft, status);
}

export function extend(draft: Draft, status: PassingStatus): void {
  if (draft.operation)
    draft.operation = { ...draft.operation, due_at: draft.facts.now + STATUS_DEADLINE_MS[status], message: "" };
}

export const standingOf = (draft: Draft): Standing => ({
  status: draft.status,
  goal: draft.goal?.action ?? null,
  has_image: draft.facts.image !== null,
  nothing_running: isBare(draft),
});

type Traceable = Pick<InstanceState, "job" | "serving" | "candidate" | "leaving" | "source_traces">;
export const isBare = ({ job, serving, candidate, leaving, source_traces }: Traceable): boolean =>
  job === null && serving === null && candidate === null && leaving.length === 0 && source_traces !== true;

/** How long a workload that found no host waits before it looks again by itself, and a host's answer is waited for, ms. */
export const ASK_AGAIN_MS = 15_000;

/** A new generation of a workload, to be put on a host. */
export function newRunner(draft: Draft, slot: number): Extract<Runner, { phase: "placing" }> {
  draft.generation += 1;
  const { now } = draft.facts;
  const recheck_at = now + ASK_AGAIN_MS;
  return { slot, generation: draft.generation, since: now, phase: "placing", refused: {}, message: "", recheck_at };
}

/** What this runner may have left on a host is to go. @param hasFailed of an engine; one that died has in any case */
export function leave(draft: Draft, runner: Runner | null, hasFailed = false): void {
  if (runner === null || runner.phase === "placing") return;
  const { slot, generation, host_id, phase } = runner;
  const engine = [draft.serving, draft.candidate].find((one) => one?.runner.slot === slot);
  const failed = hasFailed || phase === "waiting" ? engine : undefined;
  draft.leaving.push({
    ...{ slot, generation, host_id },
    ...(failed && { failed: { build_id: failed.build_id, at: draft.facts.now } }),
  });
}

export const runnersOf = (state: Pick<InstanceState, "job" | "serving" | "candidate">): Runner[] =>
  [state.job, state.serving?.runner ?? null, state.candidate?.runner ?? null].filter((runner) => runner !== null);

/** The runner of a slot, when it is of this generation. */
export const runnerAt = (
  state: Pick<InstanceState, "job" | "serving" | "candidate">,
  slot: number,
  generation: number,
): Runner | null => runnersOf(state).find((runner) => runner.slot === slot && runner.generation === generation) ?? null;

export function replaceRunner(draft: Draft, runner: Runner): void {
  if (draft.job?.slot === runner.slot) draft.job = runner;
  if (draft.candidate?.runner.slot === runner.slot) draft.candidate = { ...draft.candidate, runner };
  if (draft.serving?.runner.slot === runner.slot) draft.serving = { ...draft.serving, runner };
}

/** Ends the operation under way. Whatever of it is on a host goes; an engine that serves stays. */
export function finish(draft: Draft, outcome: "succeeded" | "failed", message: string): void {
  const { operation, facts } = draft;
  if (operation === null) return;
  const { id, action, actor, started_at } = operation;
  leave(draft, draft.job);
  leave(draft, draft.candidate?.runner ?? null, outcome === "failed");
  draft.job = null;
  draft.candidate = null;
  draft.last_operation = { id, action, actor, outcome, message, started_at, finished_at: facts.now };
  if (operation.goal)
    note(
      draft,
      outcome === "succeeded" ? "info" : "warning",
      "scheduler",
      outcome === "succeeded" ? "goal_reached" : "goal_dropped",
      outcome === "succeeded" ? `the queued ${action} is done` : `the queued ${action} failed: ${message}`,
      { action },
    );
  draft.operation = null;
}

/** The operation failed. The engine that serves goes on; without one the instance has failed. */
export function fail(draft: Draft, code: string, message: string): void {
  const { operation, facts } = draft;
  const failure = failureOf(code, message, facts.now);
  draft.last_error = failure;
  const action: InstanceAction | "engine" = operation?.action ?? "engine";
  note(draft, "error", "scheduler", "operation_failed", `${action} failed: ${message}`, {
    action,
    code,
    category: failure.category,
    still_serving: draft.serving !== null,
  });
  endBuild(draft, "failed", failure);
  const to = draft.serving === null ? "failed" : "running";
  finishInto(draft, to, "failed", message);
}

/** The build of the operation is over, if it had come as far as to have one. */
function endBuild(draft: Draft, status: "failed", failure: InstanceFailure): void {
  const id = draft.operation?.build_id;
  if (!id || (draft.status !== "queued" && draft.status !== "building")) return;
  draft.builds.push({ type: "ended", id, status, failure });
  note(draft, "error", "builder", "build_finished", `the build ${status}: ${failure.message}`, {
    build_id: id,
    status,
    code: failure.code,
  });
}

export function finishInto(draft: Draft, to: InstanceStatus, outcome: "succeeded" | "failed", message: string): void {
  become(draft, to);
  finish(draft, outcome, message);
}

/** `3 rows of 1 table`. */
export const rowsText = ({ rows, tables }: { rows: number; tables: number }): string =>
  `${rows} ${rows === 1 ? "row" : "rows"} of ${tables} ${tables === 1 ? "table" : "tables"}`;
