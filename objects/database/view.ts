import { type AllowedActions, allowedActions } from "../../contract/action.ts";
import {
  DATABASE_ACTION_TABLE,
  type DatabaseStatus,
  type DatabaseView,
  DISABLED_ACTIONS,
  DISABLED_REASON,
  type ListedDatabase,
} from "../../contract/database.ts";
import type { DatabaseState } from "../../contract/database-state.ts";
import { type Reply, refuse } from "../../contract/problem.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { cursor } from "../journal.ts";
import type { IndexRow } from "../projection.ts";
import { lastActive } from "./activity.ts";
import { hostOf, idleAt } from "./idle.ts";
import { connections, demandOf, leaseViews } from "./lease.ts";
import { acceptLossAction } from "./loss.ts";
import { preparing } from "./preparation.ts";
import { type DatabaseRecord, factsOf } from "./record.ts";

/** The database as the API answers it, with its leases as they are at this moment. */
export function databaseView(
  sql: SqlStorage,
  record: DatabaseRecord,
  connected: ReadonlySet<string>,
  now: number,
): DatabaseView {
  const { identity, settings, keeping, state, revision, updated_at } = record;
  const { status } = state;
  const keepers = keeping?.keepers ?? [];
  const used = lastActive(sql);
  const idle = idleAt(state, factsOf(sql, record, demandOf(sql, connected), now));
  const isOn = status === "ready" || status === "stopping";
  return {
    id: identity.id,
    name: identity.name,
    namespace: identity.namespace,
    created_at: timestamp(identity.created_at),
    updated_at: timestamp(updated_at),
    state: status,
    status,
    ...reasonOf(state),
    role: identity.role,
    labels: settings.labels,
    idle_timeout: settings.idle_timeout,
    allowed_addresses: settings.allowed_addresses,
    placement: { labels: identity.placement },
    current_scale: isOn ? 1 : 0,
    target_scale: status === "ready" || status === "booting" ? 1 : 0,
    current_profile: state.current_profile,
    target_profile: settings.profile,
    candidate_profile: state.candidate_profile,
    scale_state: state.scale_state,
    scale_failure_reason: null,
    freeze_new_checkouts: state.freeze_new_checkouts,
    term: state.term,
    timeline: identity.id,
    durability: { kind: keepers.length > 0 ? "keepers" : "host", keepers, quorum: keeping?.quorum ?? 0 },
    host_id: hostOf(state) ?? state.home,
    backend_addr: status === "ready" ? state.backend : null,
    restored_from: identity.restored_from,
    restorable_since: timestamp(state.restorable_since),
    active_connections: connections(sql, status === "ready"),
    last_used_at: timestamp(used),
    idle_stop_at: timestamp(idle),
    awake_because: leaseViews(sql, connected).filter(({ sessions, waiting }) => sessions + waiting > 0),
    last_start: state.last_start,
    failed:
      status === "error" ? { code: state.code, message: state.message, retry_at: timestamp(state.retry_at) } : null,
    revision,
    allowedActions: actionsOf(state),
    event_cursor: cursor(sql),
  };
}

export const notAllowed = (name: string, resource_status: DatabaseStatus): Reply<never> =>
  refuse("action_not_allowed", `${name} is ${resource_status}.`, { more: { resource_status } });

/** What may be asked in a state. What is never done by hand says so, rather than that it is not possible now. */
export const actionsOf = (state: DatabaseState): AllowedActions => ({
  ...allowedActions(DATABASE_ACTION_TABLE, state.status),
  ...acceptLossAction(state),
  ...Object.fromEntries(
    DISABLED_ACTIONS.map((action) => [action, { allowed: false, code: "operation_disabled", reason: DISABLED_REASON }]),
  ),
});

function reasonOf(state: DatabaseState): { reason: string; message: string } {
  switch (state.status) {
    case "creating":
      return { reason: "preparing", message: preparing(state) };
    case "booting":
      return { reason: state.step.name, message: state.message };
    case "ready": {
      if (state.quiesce !== null)
        return { reason: "quiescing", message: "gateways are asked whether anybody is there" };
      const [trouble] = state.notes ?? [];
      if (trouble === undefined) return { reason: "ready", message: "it takes connections" };
      return { reason: trouble.code, message: (state.notes ?? []).map(({ message }) => message).join("; ") };
    }
    case "stopping":
      return { reason: "stopping", message: "PostgreSQL is being stopped" };
    case "stopped":
      return { reason: "asleep", message: "the next connection wakes it" };
    case "deleting":
      return {
        reason: "deleting",
        message: state.message || `waiting for ${state.copies.join(", ") || "the last host"} to remove what is there`,
      };
    case "error":
      return { reason: state.code, message: state.message };
  }
}

/** The row of the lists; `gone` takes it out of them. */
export function indexRow(sql: SqlStorage, record: DatabaseRecord, gone: boolean): IndexRow {
  const { identity, settings, state, revision } = record;
  return {
    kind: "database",
    id: identity.id,
    namespace: identity.namespace,
    name: identity.name,
    status: state.status,
    type: "",
    labels: settings.labels,
    passing: state.status !== "stopped" && state.status !== "error",
    version: revision + (gone ? 1 : 0),
    body: gone ? null : JSON.stringify(listed(databaseView(sql, record, NO_LINES, Date.now()))),
  };
}

const NO_LINES: ReadonlySet<string> = new Set();

/** Leases come, go and are renewed without a word to the lists. */
function listed({ active_connections, idle_stop_at, awake_because, ...view }: DatabaseView): ListedDatabase {
  if (view.state === "stopped") return view;
  const { last_used_at, ...rest } = view;
  return rest;
}
