import type { Entry } from "../../contract/event.ts";
import { InstanceState } from "../../contract/instance.ts";
import type { InstanceSize } from "../../contract/instance-size.ts";
import { isStable } from "../../contract/instance-status.ts";
import type { Candidate } from "../deployment/placement.ts";
import { note } from "../note.ts";
import {
  ASK_AGAIN_MS,
  type BuildChange,
  type Draft,
  draftOf,
  type InstanceFacts,
  replaceRunner,
  runnersOf,
} from "./draft.ts";
import { onSeen, onTimes, type Seen } from "./engine.ts";
import { type Act, act, admitted, cancelBuild, cancelGoal, emptied, overdue, runGoal } from "./operation.ts";
import { type Answered, type EvictionCause, onAnswered, onEndpoint, onEvicted, onHosts } from "./placing.ts";
import { onReport, type Told } from "./report.ts";
import { onIdle, onScheduled, onWanted } from "./unattended.ts";

/**
 * The instance's machine. Pure: time, chance, ids and what is known of builds come in as facts. What is to be said to others follows from the
 * state (`letters.ts`).
 */

export type InstanceEvent =
  | ({ type: "act" } & Act)
  | { type: "cancel_goal"; actor: string }
  | { type: "cancel_build"; build_id: string; actor: string }
  /** Its user said something else of it; nothing that runs changes by it. */
  | { type: "specified" }
  | { type: "hosts"; hosts: readonly Candidate[] }
  | { type: "answered"; host_id: string; answers: readonly Answered[] }
  | { type: "observed"; host_id: string; reports: readonly Seen[] }
  | { type: "evicted"; host_id: string; why: EvictionCause; slots: readonly { slot: number; generation: number }[] }
  | ({ type: "reported" } & Told)
  /** The build has its turn. */
  | { type: "admitted"; build_id: string }
  /** Room may have come on a host. */
  | { type: "capacity" }
  /** What the connection says cannot be used now. */
  | { type: "unresolved"; message: string }
  /** The pause schedule: which of its times came last. */
  | { type: "scheduled"; want: "paused" | "running"; until: number }
  | { type: "idle" }
  /** Somebody with a key asks while it is paused. */
  | { type: "wanted" }
  /** Where it is queried has changed; null: nowhere for now. */
  | { type: "endpoint"; url: string | null; former: string | null }
  | { type: "due" };

export type InstanceDecision = {
  state: InstanceState;
  entries: Entry[];
  builds: BuildChange[];
  /** The size to store; null: as it is. */
  size: InstanceSize | null;
  purge: boolean;
};

export function initial(now: number): InstanceDecision {
  const state: InstanceState = {
    status: "registered",
    operation: null,
    generation: 0,
    goal: null,
    job: null,
    serving: null,
    candidate: null,
    leaving: [],
    deployed: null,
    replication_paused: false,
    replication: null,
    home: null,
    reloads: 0,
    drift: null,
    source_traces: null,
    clearing: null,
    last_error: null,
    last_operation: null,
    degraded: false,
    paused_by: null,
    schedule_until: now,
    idle_since: now,
  };
  const entry: Entry = { level: "info", component: "api", reason: "instance_created", message: "registered" };
  return { state, entries: [entry], builds: [], size: null, purge: false };
}

/** What comes of an event. A late, repeated or stale one leaves everything as it is. */
export function decide(state: InstanceState, event: InstanceEvent, facts: InstanceFacts): InstanceDecision {
  const draft = draftOf(state, facts);
  apply(draft, event);
  emptied(draft);
  while (isStable(draft.status) && draft.goal !== null) {
    runGoal(draft);
    emptied(draft);
  }
  return settle(draft);
}

function apply(draft: Draft, event: InstanceEvent): void {
  switch (event.type) {
    case "act":
      act(draft, event);
      return;
    case "cancel_goal":
      cancelGoal(draft, event.actor);
      return;
    case "cancel_build":
      cancelBuild(draft, event.build_id, event.actor);
      return;
    case "specified":
      note(draft, "info", "api", "instance_changed", "another specification was stored");
      return;
    case "hosts":
      onHosts(draft, event.hosts);
      return;
    case "answered":
      for (const answer of event.answers) onAnswered(draft, event.host_id, answer);
      return;
    case "observed":
      for (const seen of event.reports) onSeen(draft, event.host_id, seen);
      return;
    case "evicted":
      for (const slot of event.slots) onEvicted(draft, event.host_id, event.why, slot);
      return;
    case "reported":
      onReport(draft, event);
      return;
    case "admitted":
      admitted(draft, event.build_id);
      return;
    case "capacity":
      lookAgain(draft);
      return;
    case "unresolved":
      unresolved(draft, event.message);
      return;
    case "scheduled":
      onScheduled(draft, event.want, event.until);
      return;
    case "idle":
      onIdle(draft);
      return;
    case "wanted":
      onWanted(draft);
      return;
    case "endpoint":
      onEndpoint(draft, event);
      return;
    case "due":
      onTimes(draft);
      overdue(draft);
      askAgain(draft);
      return;
  }
}

function lookAgain(draft: Draft): void {
  for (const runner of runnersOf(draft))
    if (runner.phase === "placing") replaceRunner(draft, { ...runner, message: "", refused: {} });
}

/** The source's address or password cannot be had: what is being placed waits, and is asked for again. */
function unresolved(draft: Draft, message: string): void {
  for (const runner of runnersOf(draft))
    if (runner.phase === "offered") replaceRunner(draft, { ...runner, ask_at: draft.facts.now + ASK_AGAIN_MS });
  if (draft.operation) draft.operation = { ...draft.operation, message };
}

/** Whatever waits for a word too long asks for it again. */
function askAgain(draft: Draft): void {
  const { now } = draft.facts;
  for (const runner of runnersOf(draft)) {
    if (runner.phase === "placing" && runner.recheck_at <= now)
      replaceRunner(draft, { ...runner, refused: {}, recheck_at: now + ASK_AGAIN_MS });
    if ((runner.phase === "offered" || runner.phase === "starting") && runner.ask_at <= now)
      replaceRunner(draft, { ...runner, ask_at: now + ASK_AGAIN_MS });
  }
}

function settle(draft: Draft): InstanceDecision {
  const { facts: _facts, entries, builds, size, purge, ...state } = draft;
  return { state: InstanceState.parse(state), entries, builds, size, purge };
}
