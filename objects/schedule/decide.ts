import type { Entry } from "../../contract/event.ts";
import { parseDuration } from "../../contract/quantity.ts";
import {
  type Run,
  runName,
  SCHEDULE_NEXT,
  type ScheduleSpec,
  type ScheduleState,
  type ScheduleStatus,
  type Standing,
} from "../../contract/schedule.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { note } from "../note.ts";
import type { Look } from "./times.ts";

/**
 * The schedule's machine. Pure: the time, and what the cron expression makes of it (`times.ts`), come in as facts. It never says "do this
 * now", only what should be true; what to do about it follows from the state (`letters.ts`).
 */

export type ScheduleEvent =
  /** Its spec was applied, perhaps for the first time; `suspend` null leaves that as it is. */
  | { type: "applied"; suspend: boolean | null; retimed: boolean }
  | { type: "trigger" }
  | { type: "suspend" }
  | { type: "resume" }
  | { type: "delete" }
  /** Its next time may have come. */
  | { type: "due" }
  /** The deployment of a run is about to be asked for: from here on it may be there. */
  | { type: "attempted"; at: number; manual: boolean }
  | { type: "started"; at: number; manual: boolean; deployment_id: string }
  | { type: "refused"; at: number; manual: boolean; message: string }
  /** Where the deployment of a run stands. */
  | { type: "told"; deployment_id: string; standing: Standing }
  /** The deployment of a former run was deleted. */
  | { type: "discarded"; deployment_id: string }
  /** All runs that are under way were asked after. */
  | { type: "checked" };

export type ScheduleFacts = { name: string; spec: ScheduleSpec; now: number; look: Look };
export type ScheduleDecision = { state: ScheduleState; entries: Entry[] };

/** How long until a run that nobody has told of is asked after, ms. It is told of; this is the net below that. */
const CHECK_AFTER_MS = 600_000;
/** A run whose deployment is still unknown after this long, ms, will not come. */
const LOST_AFTER_MS = 300_000;

type Draft = {
  facts: ScheduleFacts;
  before: ScheduleStatus;
  suspended: boolean;
  deleted: boolean;
  runs: Run[];
  discard: string[];
  done_until: number;
  last_scheduled_at: number | null;
  last_manual_at: number;
  check_at: number | null;
  entries: Entry[];
};

/** A new schedule: what was before it is none of its business. */
export function initial(facts: ScheduleFacts, suspend: boolean): ScheduleDecision {
  const draft: Draft = {
    facts,
    before: suspend ? "suspended" : "waiting",
    suspended: suspend,
    deleted: false,
    runs: [],
    discard: [],
    done_until: facts.now,
    last_scheduled_at: null,
    last_manual_at: 0,
    check_at: null,
    entries: [],
  };
  note(draft, "info", "api", "schedule_created", `created${suspend ? ", suspended" : ""}: ${facts.spec.cron}`);
  return settle(draft, null);
}

/** What comes of an event. A late, repeated or stale one leaves everything as it is. */
export function decide(state: ScheduleState, event: ScheduleEvent, facts: ScheduleFacts): ScheduleDecision {
  const { status, done_until, last_scheduled_at, last_manual_at, check_at } = state;
  const draft: Draft = {
    facts,
    before: status,
    suspended: status === "suspended",
    deleted: status === "deleted",
    runs: [...state.runs],
    discard: [...state.discard],
    done_until,
    last_scheduled_at,
    last_manual_at,
    check_at,
    entries: [],
  };
  switch (event.type) {
    case "applied":
      if (!draft.deleted) onApplied(draft, event);
      break;
    case "trigger":
      if (!draft.deleted && triggerRefusal(state, facts.spec, facts.name) === null) onTrigger(draft);
      break;
    case "suspend":
      if (!draft.deleted && !draft.suspended) suspend(draft);
      break;
    case "resume":
      if (draft.suspended) resume(draft);
      break;
    case "delete":
      if (!draft.deleted) onDelete(draft);
      break;
    case "due":
      if (!draft.deleted && !draft.suspended) onDue(draft);
      break;
    case "attempted":
      update(draft, event, (run) => (run.phase === "due" ? { ...run, attempted: true } : run));
      break;
    case "started":
      onStarted(draft, event);
      break;
    case "refused":
      onRefused(draft, event);
      break;
    case "told":
      onTold(draft, event.deployment_id, event.standing);
      break;
    case "discarded":
      draft.discard = draft.discard.filter((id) => id !== event.deployment_id);
      break;
    case "checked":
      draft.check_at = null;
      break;
  }
  return settle(draft, state.done_until);
}

/** Why a run may not be triggered now, or null. */
export function triggerRefusal(state: ScheduleState, spec: ScheduleSpec, name: string): string | null {
  const run = state.runs.find(isUnderWay);
  return run && spec.concurrency_policy === "forbid"
    ? `${runName(name, run)} is still under way, and the concurrency policy is forbid.`
    : null;
}

export const isUnderWay = ({ phase }: Run): boolean => phase !== "finished";

function onApplied(draft: Draft, { suspend: wanted, retimed }: Extract<ScheduleEvent, { type: "applied" }>): void {
  note(draft, "info", "api", "schedule_changed", "another manifest was applied");
  if (retimed) draft.done_until = draft.facts.now;
  if (wanted === true && !draft.suspended) suspend(draft);
  if (wanted === false && draft.suspended) resume(draft);
  forget(draft);
}

function suspend(draft: Draft): void {
  draft.suspended = true;
  note(draft, "info", "api", "schedule_suspended", "suspended: no run is started until it is resumed");
}

/** It goes on from now: the times that passed while it was suspended were not missed. */
function resume(draft: Draft): void {
  draft.suspended = false;
  draft.done_until = draft.facts.now;
  note(draft, "info", "api", "schedule_resumed", "resumed");
}

function onDelete(draft: Draft): void {
  draft.deleted = true;
  note(draft, "info", "api", "deletion_requested", "deletion requested: its runs go with it");
  draft.runs = draft.runs.flatMap((run): Run[] => {
    if (run.phase === "due") return run.attempted ? [{ ...run, doomed: true }] : [];
    if (run.deployment_id !== null) draft.discard.push(run.deployment_id);
    return [];
  });
}

function onTrigger(draft: Draft): void {
  // A second is what tells two names apart.
  const at = Math.max(Math.floor(draft.facts.now / 1000) * 1000, draft.last_manual_at + 1000);
  draft.last_manual_at = at;
  begin(draft, { at, manual: true });
}

function onDue(draft: Draft): void {
  const { now, look, spec } = draft.facts;
  if (look.due === null) return;
  draft.done_until = look.due;
  draft.last_scheduled_at = look.due;
  const deadline = spec.starting_deadline === null ? null : parseDuration(spec.starting_deadline);
  const late = deadline !== null && now - look.due > deadline;
  const missed = look.missed + (late ? 1 : 0);
  if (missed > 0) {
    const first = timestamp(look.first ?? look.due);
    const count = `${look.more ? "more than " : ""}${missed}`;
    note(
      draft,
      "warning",
      "scheduler",
      "runs_missed",
      missed === 1 && !look.more
        ? `missed the run of ${first}: it could not be started in time`
        : `missed ${count} runs from ${first} on: they could not be started in time`,
      { missed, first_missed_at: first, at_least: look.more },
    );
  }
  if (!late) fire(draft, look.due);
}

function fire(draft: Draft, at: number): void {
  // Its time came before, on a clock that has been set back since.
  if (draft.runs.some((run) => run.at === at && !run.manual)) return;
  const underWay = draft.runs.find(isUnderWay);
  if (underWay && draft.facts.spec.concurrency_policy === "forbid") {
    const message = `skipped the run of ${timestamp(at)}: ${runName(draft.facts.name, underWay)} is still under way`;
    note(draft, "warning", "scheduler", "run_skipped", message, { scheduled_at: timestamp(at) });
    return;
  }
  begin(draft, { at, manual: false });
}

function begin(draft: Draft, { at, manual }: { at: number; manual: boolean }): void {
  if (draft.facts.spec.concurrency_policy === "replace") stopAll(draft, runName(draft.facts.name, { at, manual }));
  draft.runs.push({ at, manual, phase: "due", attempted: false, doomed: false });
}

/** Ends whatever is under way: another run takes its place. */
function stopAll(draft: Draft, successor: string): void {
  draft.runs = draft.runs.flatMap((run): Run[] => {
    if (run.phase !== "due" && run.phase !== "active") return [run];
    if (run.phase === "active" || !run.doomed)
      note(draft, "info", "scheduler", "run_replaced", `${named(draft, run)} is replaced by ${successor}`);
    if (run.phase === "active") return [{ ...run, phase: "stopping" }];
    return run.attempted ? [{ ...run, doomed: true }] : [];
  });
}

function onStarted(draft: Draft, { at, manual, deployment_id }: Extract<ScheduleEvent, { type: "started" }>): void {
  update(draft, { at, manual }, (run) => {
    if (run.phase !== "due") return run;
    if (run.doomed && draft.deleted) {
      draft.discard.push(deployment_id);
      return null;
    }
    const started = { at, manual, deployment_id, started_at: draft.facts.now };
    if (run.doomed) return { ...started, phase: "stopping" };
    note(draft, "info", "scheduler", "run_started", `started ${named(draft, run)}`, {
      deployment_id,
      scheduled_at: timestamp(at),
    });
    return { ...started, phase: "active" };
  });
}

function onRefused(draft: Draft, { at, manual, message }: Extract<ScheduleEvent, { type: "refused" }>): void {
  update(draft, { at, manual }, (run) => {
    if (run.phase !== "due") return run;
    if (run.doomed) return null;
    note(draft, "error", "scheduler", "run_refused", `${named(draft, run)} could not be started: ${message}`);
    const nothing = { deployment_id: null, started_at: null };
    return { at, manual, ...nothing, phase: "finished", finished_at: draft.facts.now, outcome: "failed", message };
  });
  forget(draft);
}

function onTold(draft: Draft, id: string, { status, message }: Standing): void {
  if (status === "gone") draft.discard = draft.discard.filter((other) => other !== id);
  const run = draft.runs.find((one) => one.phase !== "due" && one.deployment_id === id);
  if (!run || run.phase === "due") return;
  update(draft, run, () => {
    if (status === "gone" || (status === "unknown" && isLost(run, draft.facts.now))) {
      if (run.phase === "active")
        note(draft, "warning", "scheduler", "run_deleted", `${named(draft, run)} was deleted by somebody else`);
      return null;
    }
    if (run.phase === "finished") return run;
    if (status === "deleted") return { ...run, phase: "stopping" };
    const outcome = status === "completed" ? "completed" : ENDED_BADLY.has(status) ? "failed" : null;
    if (outcome === null) return run;
    const level = outcome === "completed" ? "info" : "warning";
    note(draft, level, "scheduler", `run_${outcome}`, `${named(draft, run)} ${outcome}: ${message}`, {
      deployment_id: id,
    });
    return { ...run, phase: "finished", finished_at: draft.facts.now, outcome, message };
  });
  forget(draft);
}

const ENDED_BADLY: ReadonlySet<Standing["status"]> = new Set([
  "failed",
  "crash_loop_back_off",
  "insufficient_resources",
]);

const isLost = (run: Exclude<Run, { phase: "due" }>, now: number): boolean =>
  now - (run.started_at ?? 0) > LOST_AFTER_MS;

/** Of the finished runs the newest are kept, as many as the history says; the deployments of the others are deleted. */
function forget(draft: Draft): void {
  const { history } = draft.facts.spec;
  for (const outcome of ["completed", "failed"] as const) {
    const finished = draft.runs.filter((run) => run.phase === "finished" && run.outcome === outcome);
    for (const run of finished.sort((a, b) => b.at - a.at).slice(history[outcome])) {
      draft.runs = draft.runs.filter((other) => other !== run);
      if (run.phase === "finished" && run.deployment_id !== null) draft.discard.push(run.deployment_id);
    }
  }
}

function update(draft: Draft, key: { at: number; manual: boolean }, change: (run: Run) => Run | null): void {
  draft.runs = draft.runs.flatMap((run) =>
    run.at === key.at && run.manual === key.manual ? (change(run) ?? []) : [run],
  );
}

/** Makes a state of the draft: computes the status and the next time, and tells of a change. */
function settle(draft: Draft, doneBefore: number | null): ScheduleDecision {
  const { facts, before, suspended, deleted, entries, check_at, ...kept } = draft;
  const asked = kept.runs.some(({ phase }) => phase === "active" || phase === "stopping");
  const common = { ...kept, check_at: asked ? (check_at ?? facts.now + CHECK_AFTER_MS) : null };
  // The first time that is not dealt with: it may have come already, and is then fired as soon as it is looked at.
  const next = kept.done_until === doneBefore && facts.look.first !== null ? facts.look.first : facts.look.next;
  const status: ScheduleStatus = deleted
    ? "deleted"
    : suspended
      ? "suspended"
      : kept.runs.some(isUnderWay)
        ? "running"
        : "waiting";
  const state: ScheduleState =
    status === "deleted" || status === "suspended" ? { ...common, status } : { ...common, status, next_at: next };
  if (status !== before) {
    if (!(SCHEDULE_NEXT[before] as readonly string[]).includes(status))
      throw new Error(`no edge from ${before} to ${status}`);
    const data = { old_status: before, new_status: status };
    note(draft, "info", "scheduler", "state_transition", `Status changed from ${before} to ${status}`, data);
  }
  return { state, entries };
}

const named = (draft: Draft, run: Run): string => runName(draft.facts.name, run);
