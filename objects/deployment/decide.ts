import {
  DEPLOYMENT_NEXT,
  type DeploymentIdentity,
  type DeploymentState,
  type DeploymentStatus,
  isTerminal,
} from "../../contract/deployment.ts";
import type { Entry } from "../../contract/event.ts";
import type { HealthResult, Usage } from "../../contract/health.ts";
import { FAILURE_KINDS } from "../../contract/workload.ts";
import { note } from "../note.ts";
import { autoscale, onUsed } from "./autoscale.ts";
import {
  ASK_AGAIN_MS,
  askAfter,
  type Draft,
  draftOf,
  type Facts,
  leave,
  placing,
  replace,
  type SlotGeneration,
  stopServing,
} from "./draft.ts";
import { onProbed } from "./health.ts";
import { LONGEST_RECHECK_MS, onAnswered, onEvicted, onHosts } from "./housing.ts";
import { onObserved, type Report } from "./observed.ts";
import type { Candidate } from "./placement.ts";
import { isGated } from "./readiness.ts";
import { onResolvable, onUnresolved } from "./reference.ts";
import { advance, handOver, markOf, onDeadline, onRollout, RETIRED, type RolloutEvent } from "./rollout.ts";
import { noteScaled, resize, trim } from "./scale.ts";
import { statusOf } from "./status.ts";

/**
 * The deployment's machine: what a deployment does about everything that can happen to it. Pure: time, jitter and the last generation
 * come in as facts. It never says "do this now", only what should be true; what to tell whom follows from the state (`letters.ts`).
 */

export type Event =
  | RolloutEvent
  /** The manifest was changed in what an instance does not notice; `facts` are those of the new one. */
  | { type: "amended"; from: number }
  | { type: "delete"; entry: Entry }
  /** The same manifest was applied again. */
  | { type: "reapplied" }
  /** The hosts there are, as the index knows them. */
  | { type: "hosts"; hosts: readonly Candidate[] }
  /** What a host said to offers. */
  | { type: "answered"; host_id: string; answers: readonly Answered[] }
  /** What was seen on a host. */
  | { type: "observed"; host_id: string; reports: readonly Report[] }
  /** These cannot stay on their host; on a `host_removed` one nothing of them is left to wait for. */
  | {
      type: "evicted";
      host_id: string;
      why: EvictionCause;
      slots: readonly SlotGeneration[];
    }
  /** What its health checks came to on a host. */
  | { type: "probed"; host_id: string; results: readonly HealthResult[] }
  /** What its instances use on a host. */
  | { type: "used"; host_id: string; usages: readonly Usage[] }
  /** What the manifest refers to (a secret, a config) is not there, so that these cannot be offered to a host. */
  | { type: "unresolved"; message: string; slots: readonly SlotGeneration[] }
  /** Something that the manifest refers to has appeared or changed. */
  | { type: "resolvable" }
  /** Some host may have room now. */
  | { type: "capacity" }
  /** A deadline of the state is over. */
  | { type: "due" };

/** `holder`: the workload that has the port which this one needs. */
export type Answered = SlotGeneration &
  ({ accepted: true } | { accepted: false; message: string; holder?: string | undefined });
export type EvictionCause = "host_lost" | "host_draining" | "host_removed";
export type Decision = { state: DeploymentState; generation: number; entries: Entry[] };

/** What a new deployment is born with: whom it takes over from, and why what was there was stopped at once. */
export type Birth = Pick<DeploymentIdentity, "takes_over" | "force_replace" | "replaces">;

/** The state of a new deployment: every replica that there is room for looks for a host. */
export function initial(facts: Facts, birth: Birth = { replaces: null }): Decision {
  const takes = birth.takes_over ?? null;
  const draft = draftOf(
    {
      instances: [],
      leaving: [],
      restart_count: 0,
      established: false,
      progress: { at: facts.now, mark: 0 },
      autoscaled: takes?.autoscaled == null ? null : { replicas: takes.autoscaled, at: facts.now },
      retried: 0,
      rollout: takes
        ? {
            role: "child",
            number: takes.number,
            direction: "forward",
            paused: false,
            forced: false,
            blocked: false,
            parents: takes.parents.map((id) => ({ id, keep: null, report: null })),
          }
        : { role: "none", number: 0 },
    },
    facts,
  );
  note(
    draft,
    "info",
    "api",
    "deployment_created",
    takes ? `created, to take over from ${takes.parents[0]}` : "created",
  );
  if (birth.force_replace != null)
    note(draft, "warning", "api", "force_replace", `${birth.replaces} was stopped at once: ${birth.force_replace}`, {
      parent_id: birth.replaces,
    });
  return settle(draft, null);
}

/** What comes of an event. A late, repeated or stale one leaves everything as it is. */
export function decide(state: DeploymentState, event: Event, facts: Facts): Decision {
  const draft = draftOf(state, facts);
  const live = state.status !== "deleted" && !isTerminal(state.status);
  switch (event.type) {
    case "delete":
      if (state.status !== "deleted") onDelete(draft, event.entry);
      break;
    case "reapplied":
      if (live && draft.restarts > 0) {
        note(
          draft,
          "info",
          "api",
          "restart_count_reset",
          `restart count reset from ${draft.restarts}: the manifest was applied again`,
        );
        draft.restarts = 0;
      }
      break;
    case "hosts":
      if (live) onHosts(draft, event.hosts);
      break;
    case "answered":
      for (const answer of event.answers) onAnswered(draft, event.host_id, answer);
      break;
    case "observed":
      for (const report of event.reports) onObserved(draft, event.host_id, report, live);
      break;
    case "evicted":
      for (const slot of event.slots) onEvicted(draft, event.host_id, slot, event.why, live);
      break;
    case "capacity":
      draft.instances = draft.instances.map((i) =>
        i.phase === "placing" && !i.unresolved ? { ...i, refused: {}, recheck_at: facts.now + ASK_AGAIN_MS } : i,
      );
      break;
    case "probed":
      for (const result of event.results) onProbed(draft, event.host_id, result, live);
      break;
    case "used":
      onUsed(draft, event.host_id, event.usages);
      if (live) autoscale(draft);
      break;
    case "unresolved":
      if (live) onUnresolved(draft, event.slots, event.message);
      break;
    case "resolvable":
      onResolvable(draft);
      break;
    case "amended":
      noteScaled(draft, "api", event.from, facts.replicas, "by request");
      if (draft.entries.length === 0)
        note(draft, "info", "api", "manifest_amended", "the manifest was changed in place");
      break;
    case "due":
      if (live) onDue(draft, state);
      else onDueEnded(draft, state);
      break;
    case "retired":
      onRollout(draft, event, live);
      if (
        state.rollout.role === "parent" &&
        state.rollout.successor === event.by &&
        state.rollout.afterwards === "delete"
      )
        if (state.status !== "deleted") onDelete(draft, RETIRED);
      break;
    default:
      onRollout(draft, event, live);
  }
  return settle(draft, state, event.type === "due");
}

function onDelete(draft: Draft, entry: Entry): void {
  draft.entries.push(entry);
  draft.outcome = { status: "deleted", reason: entry.reason, message: entry.message };
  for (const instance of draft.instances) leave(draft, instance);
  draft.instances = [];
  stopServing(draft, () => true);
}

/** A finished job has been kept for as long as it was to be. */
function onDueEnded(draft: Draft, state: DeploymentState): void {
  const { ttl_ms, now } = draft.facts;
  if (ttl_ms === null || !("finished_at" in state) || state.finished_at + ttl_ms > now) return;
  onDelete(draft, {
    level: "info",
    component: "scheduler",
    reason: "ttl_expired",
    message: "finished long enough ago (`ttl_after_finished`)",
  });
}

function onDue(draft: Draft, state: DeploymentState): void {
  const { now } = draft.facts;
  if (state.progress_due_at !== null && state.progress_due_at <= now) onDeadline(draft);
  for (const instance of draft.instances) {
    if (instance.phase === "waiting" && instance.retry_at <= now) {
      leave(draft, instance);
      replace(draft, placing(draft, instance.slot, instance.trouble));
    }
    if (instance.phase === "placing" && instance.recheck_at <= now)
      replace(draft, { ...instance, refused: {}, unresolved: false, recheck_at: now + ASK_AGAIN_MS });
    if (instance.phase === "offered" && instance.ask_at <= now)
      replace(draft, { ...instance, ask_at: now + ASK_AGAIN_MS });
    if (instance.phase === "starting" && instance.ask_at <= now)
      replace(draft, { ...instance, ask_at: now + askAfter(draft) });
  }
}

/** Makes a state of the draft: brings the instances to their number, computes the status, and tells of a change. */
function settle(draft: Draft, before: DeploymentState | null, due = false): Decision {
  const live =
    draft.outcome === null && (before === null || !(before.status === "deleted" || isTerminal(before.status)));
  const state = live ? going(draft, before) : ended(draft, before, due);
  let from = before?.status ?? state.status;
  for (const to of route(from, state.status)) {
    note(
      draft,
      WORRYING.has(to) ? "warning" : "info",
      "scheduler",
      "state_transition",
      `Status changed from ${from} to ${to}: ${state.message}`,
      {
        old_status: from,
        new_status: to,
        restart_count: draft.restarts,
      },
    );
    from = to;
  }
  return { state: state as DeploymentState, generation: draft.generation, entries: draft.entries };
}

/**
 * The statuses to go through, one listed edge at a time. News can come faster than the answers before it: what is seen running before its
 * host's "accepted" arrived has been creating all the same.
 */
function route(from: DeploymentStatus, to: DeploymentStatus): DeploymentStatus[] {
  const next = (status: DeploymentStatus): readonly DeploymentStatus[] => DEPLOYMENT_NEXT[status];
  if (from === to) return [];
  if (next(from).includes(to)) return [to];
  for (const via of ["creating", "pending"] as const)
    if (next(from).includes(via) && next(via).includes(to)) return [via, to];
  throw new Error(`no edge from ${from} to ${to}`);
}

const WORRYING: ReadonlySet<DeploymentStatus> = new Set([
  "failed",
  "crash_loop_back_off",
  "insufficient_resources",
  ...FAILURE_KINDS,
]);

function going(draft: Draft, before: DeploymentState | null): DeploymentState {
  advance(draft);
  resize(draft);
  const shown = statusOf(draft, before?.status ?? "pending");
  draft.established ||= shown.status === "running";
  const { rollout, facts } = draft;
  const mark = markOf(draft);
  const begins = shown.status === "creating" && before?.status !== "creating" && rollout.role === "none";
  if (mark > draft.progress.mark || begins) draft.progress = { at: facts.now, mark };
  return { ...shown, ...moving(draft), progress_due_at: progressDue(draft, shown.status) } as DeploymentState;
}

/** When something has to have come on: a gated deployment that is being created, and the child of a rolling update. */
function progressDue(draft: Draft, status: DeploymentStatus): number | null {
  const { rollout, facts, progress } = draft;
  const isWaiting =
    rollout.role === "child"
      ? rollout.direction === "forward" && !rollout.paused && !rollout.forced
      : rollout.role === "none" && status === "creating" && isGated(draft);
  return isWaiting ? progress.at + facts.patience_ms : null;
}

const moving = (draft: Draft) => ({
  restart_count: draft.restarts,
  instances: draft.instances,
  leaving: draft.leaving,
  established: draft.established,
  rollout: draft.rollout,
  progress: draft.progress,
  progress_due_at: null as number | null,
  autoscaled: draft.autoscaled,
  retried: draft.retried,
});

function ended(draft: Draft, before: DeploymentState | null, due: boolean): DeploymentState {
  const { now } = draft.facts;
  handOver(draft);
  // What has ended and still serves makes way as it is told to.
  if (draft.rollout.role === "parent" && before?.status !== "deleted" && draft.outcome?.status !== "deleted")
    trim(draft, Math.min(draft.instances.length, draft.rollout.keep));
  if (draft.outcome?.status === "deleted") {
    return { ...draft.outcome, status: "deleted", ...moving(draft), deleted_at: now, ask_at: now + ASK_AGAIN_MS };
  }
  if (draft.outcome) return { ...draft.outcome, ...moving(draft), finished_at: now } as DeploymentState;
  if (before?.status === "deleted") {
    // Asked again after as long as it has waited already.
    const wait = Math.min(Math.max(now - before.deleted_at, ASK_AGAIN_MS), LONGEST_RECHECK_MS * 2);
    return { ...before, ...moving(draft), ask_at: due ? now + wait : before.ask_at };
  }
  return { ...(before as DeploymentState), ...moving(draft) };
}
