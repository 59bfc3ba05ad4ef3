import type { DatabaseState } from "../../contract/database-state.ts";
import type { HostView } from "../../contract/host.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { hostOf, idleAt } from "./idle.ts";
import { demandOf, leaseViews } from "./lease.ts";
import { deadlineOf } from "./letters.ts";
import { followers } from "./reader.ts";
import { type DatabaseRecord, factsOf } from "./record.ts";
import { actionsOf, databaseView } from "./view.ts";

type Waits = { for: string; message: string; until: string | null };

/** JSON: why it is awake or not, what is waited for, which deadline comes next, and what could not be delivered yet. */
export function explanation(
  sql: SqlStorage,
  record: DatabaseRecord,
  connected: ReadonlySet<string>,
  hosts: readonly string[],
  now: number,
): string {
  const { identity, settings, state, revision } = record;
  const facts = factsOf(sql, record, demandOf(sql, connected), now);
  const view = databaseView(sql, record, connected, now);
  const deadline = deadlineOf(state, facts);
  const near = new Set([hostOf(state), state.home, ...state.copies, ...state.leaving.map(({ host_id }) => host_id)]);
  const letters = sql
    .exec<{ key: string; due_at: number; attempts: number; last_error: string | null }>(
      "SELECT key, due_at, attempts, last_error FROM outbox ORDER BY due_at",
    )
    .toArray();
  return JSON.stringify({
    id: identity.id,
    state: state.status,
    status: state.status,
    reason: view.reason,
    message: view.message,
    revision,
    term: state.term,
    awake_because: view.awake_because,
    asleep_because: asleep(state),
    asleep_since: state.status === "stopped" || state.status === "error" ? timestamp(state.since) : null,
    idle_stop_at: view.idle_stop_at,
    stays_awake_because: staysAwake(state, settings.idle_timeout, idleAt(state, facts)),
    leases: leaseViews(sql, connected),
    followed_by: followers(sql),
    last_start: state.last_start,
    waiting_for: waits(state),
    durability: view.durability,
    hosts: hosts
      .map((body) => JSON.parse(body) as HostView)
      .filter(({ id }) => near.has(id))
      .map(({ id, name, status, message, last_seen_at }) => ({
        ...{ id, name, status, message, last_seen_at },
        copy: state.copies.includes(id),
      })),
    next_deadline_at: timestamp(deadline),
    undelivered: letters.map(({ key, due_at, attempts, last_error }) => ({
      ...{ about: key, attempts, last_error },
      next_attempt_at: timestamp(due_at),
    })),
    allowedActions: actionsOf(state),
  });
}

function asleep(state: DatabaseState): string | null {
  if (state.status === "error") return `the last start failed (${state.code}): ${state.message}`;
  if (state.status !== "stopped") return null;
  if (state.term === 0) return "nobody has connected to it yet";
  // What older versions stopped has no reason with it.
  return state.because === "" ? "its writer was stopped, or ended with nobody there" : state.because;
}

function staysAwake(state: DatabaseState, idleTimeout: number, idle: number | null): string | null {
  if (state.status !== "ready" || idle !== null) return null;
  return idleTimeout === 0 ? "idle_timeout is 0: it is never stopped" : "somebody is connected, or waits to be";
}

function waits(state: DatabaseState): Waits[] {
  const leaving = state.leaving.map(({ host_id, term, lease_until }) => ({
    for: `host ${host_id} to confirm that the writer of term ${term} is gone`,
    message: "",
    until: timestamp(lease_until),
  }));
  if (state.status !== "booting") return leaving;
  const { step, message } = state;
  const what = {
    placing: "a host",
    offered: `host ${"host_id" in step ? step.host_id : ""} to reserve`,
    starting: `host ${"host_id" in step ? step.host_id : ""} to start PostgreSQL`,
    fencing: "the lease of an older writer to end",
    pausing: "the next attempt",
  }[step.name];
  return [{ for: what, message, until: timestamp(state.look_at) }, ...leaving];
}
