import { allowedActions } from "../../contract/action.ts";
import type { AuditEntry, Entry } from "../../contract/event.ts";
import {
  type Run,
  type RunView,
  runName,
  SCHEDULE_ACTION_TABLE,
  type ScheduleIdentity,
  type ScheduleSpec,
  ScheduleState,
  type ScheduleView,
} from "../../contract/schedule.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { setTimer } from "../alarm.ts";
import { append, cursor } from "../journal.ts";
import { type Deed, entryOf, type IndexRow } from "../projection.ts";
import { isUnderWay, type ScheduleDecision } from "./decide.ts";
import { deadlineOf } from "./letters.ts";

/** The one row of a ScheduleObject. */
export type ScheduleRecord = {
  identity: ScheduleIdentity;
  spec: ScheduleSpec;
  state: ScheduleState;
  view: string;
  revision: number;
};

type Row = { identity: string; spec: string; state: string; view: string; revision: number };

/** The schedule, or null when there is none (never made, or purged). Throws when the stored state does not fit the contract. */
export function load(sql: SqlStorage): ScheduleRecord | null {
  const row = sql.exec<Row>("SELECT identity, spec, state, view, revision FROM schedule").toArray()[0];
  return row
    ? {
        identity: JSON.parse(row.identity) as ScheduleIdentity,
        spec: JSON.parse(row.spec) as ScheduleSpec,
        state: ScheduleState.parse(JSON.parse(row.state)),
        view: row.view,
        revision: row.revision,
      }
    : null;
}

/** Writes what was decided: the row, the journal and the deadline. Call it inside `commit`. Answers whether anything changed. */
export function save(
  sql: SqlStorage,
  identity: ScheduleIdentity,
  spec: ScheduleSpec,
  before: ScheduleRecord | null,
  { state, entries }: ScheduleDecision,
  head: { actor: string; now: number },
): boolean {
  // Also when nothing changed: the timer that rang was taken, perhaps before its time.
  setTimer(sql, "deadline", deadlineOf(state));
  const texts = [JSON.stringify(spec), JSON.stringify(ScheduleState.parse(state))] as const;
  const same = before !== null && texts[0] === JSON.stringify(before.spec) && texts[1] === JSON.stringify(before.state);
  if (same && entries.length === 0) return false;
  const revision = (before?.revision ?? 0) + 1;
  for (const entry of entries)
    append(sql, entry, { resourceId: identity.id, actor: head.actor, revision, now: head.now, ...changeOf(entry) });
  const view = JSON.stringify(
    scheduleView(identity, spec, state, { revision, updated_at: head.now, event_cursor: cursor(sql) }),
  );
  sql.exec(
    "INSERT OR REPLACE INTO schedule (one, namespace, status, identity, spec, state, view, revision, updated_at) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
    identity.namespace,
    state.status,
    JSON.stringify(identity),
    ...texts,
    view,
    revision,
    head.now,
  );
  return true;
}

function changeOf({ reason, data }: Entry): { change?: { old_status: string; new_status: string } } {
  const { old_status, new_status } = (data ?? {}) as { old_status?: string; new_status?: string };
  return reason === "state_transition" && old_status !== undefined && new_status !== undefined
    ? { change: { old_status, new_status } }
    : {};
}

/** The row of the lists; `gone` takes it out of them. */
export function indexRow(record: ScheduleRecord, gone: boolean): IndexRow {
  const { identity, state } = record;
  return {
    kind: "schedule",
    id: identity.id,
    namespace: identity.namespace,
    name: identity.name,
    status: state.status,
    type: "",
    labels: {},
    // A schedule that waits is looked after too: one whose alarm was lost would never run again, and nobody would notice.
    passing: deadlineOf(state) !== null || state.status === "deleted",
    version: record.revision + (gone ? 1 : 0),
    body: gone ? null : record.view,
  };
}

export function scheduleView(
  identity: ScheduleIdentity,
  spec: ScheduleSpec,
  state: ScheduleState,
  head: { revision: number; updated_at: number; event_cursor: number },
): ScheduleView {
  const runs = runViews(identity.name, state);
  const next = "next_at" in state ? state.next_at : null;
  const { name: _name, namespace: _namespace, ...job } = spec.job;
  return {
    id: identity.id,
    name: identity.name,
    namespace: identity.namespace,
    created_at: timestamp(identity.created_at),
    updated_at: timestamp(head.updated_at),
    status: state.status,
    message: messageOf(identity.name, state),
    cron: spec.cron,
    time_zone: spec.time_zone,
    concurrency_policy: spec.concurrency_policy,
    starting_deadline: spec.starting_deadline,
    suspend: state.status === "suspended",
    history: spec.history,
    job: job.config?.password == null ? job : { ...job, config: { ...job.config, password: null } },
    next_at: timestamp(next),
    last_scheduled_at: timestamp(state.last_scheduled_at),
    active: runs.filter(({ finished_at }) => finished_at === null),
    last_run: runs.find(({ finished_at }) => finished_at !== null) ?? null,
    revision: head.revision,
    allowedActions: allowedActions(SCHEDULE_ACTION_TABLE, state.status),
    event_cursor: head.event_cursor,
  };
}

function messageOf(name: string, state: ScheduleState): string {
  const underWay = state.runs.filter(isUnderWay).map((run) => runName(name, run));
  const busy = underWay.length === 0 ? "" : `${underWay.join(", ")} under way`;
  if (state.status === "deleted") return "deleted; its runs are being put away";
  if (state.status === "suspended") return ["no run is started until it is resumed", busy].filter(Boolean).join("; ");
  return [`next run at ${timestamp(state.next_at)}`, busy].filter(Boolean).join("; ");
}

/** Newest first. */
export const runViews = (name: string, state: ScheduleState): RunView[] =>
  [...state.runs].sort((a, b) => b.at - a.at).map((run) => runView(name, run));

function runView(name: string, run: Run): RunView {
  const started = run.phase === "due" ? null : run.started_at;
  const finished = run.phase === "finished" ? run.finished_at : null;
  return {
    name: runName(name, run),
    deployment_id: run.phase === "due" ? null : run.deployment_id,
    scheduled_at: timestamp(run.at),
    trigger: run.manual ? "manual" : "schedule",
    status: run.phase === "finished" ? run.outcome : run.phase === "due" && run.doomed ? "stopping" : run.phase,
    message: run.phase === "finished" ? run.message : "",
    started_at: timestamp(started),
    finished_at: timestamp(finished),
  };
}

export const auditEntry = ({ id, namespace, name }: ScheduleIdentity, ...deed: Deed): AuditEntry =>
  entryOf({ kind: "schedule", id, namespace, name }, ...deed);
