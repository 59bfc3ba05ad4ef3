import { timestamp } from "../../contract/timestamp.ts";
import { type WebhookEvent, type WebhookFormat, webhookBody } from "../../contract/webhook.ts";
import type { DELIVERY_STATUSES, WebhookAttempt, WebhookDelivery } from "../../contract/webhook-endpoint.ts";
import type { Fate } from "./decide.ts";
import type { Attempted } from "./send.ts";

/**
 * The events of one endpoint, in the order in which they came. Of each resource only the first pending one is due; a resource that has to
 * wait holds up no other.
 */
export const KEPT_MS = 7 * 86_400_000;
export const KEPT = 10_000;
const PRUNED_AT_ONCE = 500;

export type Queued = { number: number; id: string; type: string; resource: string; body: string; attempts: number };

/** Takes events in; one that is known already changes nothing. Call everything here inside `commit`. */
export function enqueue(sql: SqlStorage, events: readonly WebhookEvent[], format: WebhookFormat, now: number): void {
  for (const event of events) {
    sql.exec(
      `INSERT INTO event (id, type, resource, body, status, attempts, due_at, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, 'pending', 0,
           CASE WHEN EXISTS (SELECT 1 FROM event WHERE resource = ?3 AND status = 'pending') THEN NULL ELSE ?5 END, ?5, ?5)
         ON CONFLICT (id) DO NOTHING`,
      event.id,
      event.type,
      event.resource,
      webhookBody(event, format),
      now,
    );
  }
  bound(sql, now);
}

/** An event that is sent at once, outside the queue, and whatever comes of it. */
export function insertPing(sql: SqlStorage, event: WebhookEvent, format: WebhookFormat, now: number): Queued {
  const body = webhookBody(event, format);
  const { number } = sql
    .exec<{ number: number }>(
      "INSERT INTO event (id, type, resource, body, status, attempts, created_at, updated_at) VALUES (?, ?, ?, ?, 'dead', 0, ?, ?) RETURNING number",
      event.id,
      event.type,
      event.resource,
      body,
      now,
      now,
    )
    .one();
  return { number, id: event.id, type: event.type, resource: event.resource, body, attempts: 0 };
}

/** Those whose time has come, the longest waiting first. */
export const due = (sql: SqlStorage, now: number, limit: number): Queued[] =>
  sql
    .exec<Queued>(
      "SELECT number, id, type, resource, body, attempts FROM event WHERE due_at <= ? ORDER BY due_at, number LIMIT ?",
      now,
      limit,
    )
    .toArray();

/** When the next one is due, or null. */
export const nextDue = (sql: SqlStorage): number | null =>
  sql.exec<{ at: number | null }>("SELECT min(due_at) AS at FROM event WHERE due_at IS NOT NULL").one().at;

/** Writes what an attempt came to; when the event is done with, the next of its resource may go. */
export function settle(sql: SqlStorage, event: Queued, attempted: Attempted, fate: Fate, now: number): void {
  sql.exec(
    "UPDATE event SET status = ?, attempts = attempts + 1, due_at = ?, last_error = ?, updated_at = ? WHERE number = ?",
    fate.status,
    fate.status === "pending" ? fate.due_at : null,
    attempted.error,
    now,
    event.number,
  );
  const { number } = sql
    .exec<{ number: number }>(
      "INSERT INTO attempt (event_id, type, at, outcome, status, latency_ms, error, response) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
      event.id,
      event.type,
      now,
      attempted.outcome,
      attempted.status,
      attempted.latency_ms,
      attempted.error,
      attempted.response,
    )
    .one();
  if (number > KEPT) sql.exec("DELETE FROM attempt WHERE number <= ?", number - KEPT);
  if (fate.status !== "pending") release(sql, event.resource, now);
}

/** The first pending event of a resource is due, whoever was before it. */
function release(sql: SqlStorage, resource: string, now: number): void {
  sql.exec(
    "UPDATE event SET due_at = ?1 WHERE due_at IS NULL AND number = (SELECT min(number) FROM event WHERE resource = ?2 AND status = 'pending')",
    now,
    resource,
  );
}

/** Whatever is due later is due now: the endpoint is back. */
export const hasten = (sql: SqlStorage, now: number): void =>
  void sql.exec("UPDATE event SET due_at = ?1 WHERE due_at > ?1", now);

export type Which = { event_id: string } | { since: number; until: number } | { failed: true };

/** Makes delivered and dead events pending again, as they are. Answers how many. */
export function requeue(sql: SqlStorage, which: Which, now: number): number {
  const [where, values] =
    "event_id" in which
      ? ["id = ?", [which.event_id]]
      : "since" in which
        ? ["created_at >= ? AND created_at <= ?", [which.since, which.until]]
        : ["status = 'dead'", []];
  const again = sql
    .exec<{ resource: string }>(
      `UPDATE event SET status = 'pending', attempts = 0, due_at = NULL, updated_at = ? WHERE status <> 'pending' AND type <> 'webhook.ping' AND ${where} RETURNING resource`,
      now,
      ...values,
    )
    .toArray();
  for (const resource of new Set(again.map((row) => row.resource))) {
    // What is before the one that was first goes first now.
    sql.exec(
      "UPDATE event SET due_at = NULL WHERE resource = ?1 AND due_at IS NOT NULL AND number > (SELECT min(number) FROM event WHERE resource = ?1 AND status = 'pending')",
      resource,
    );
    release(sql, resource, now);
  }
  return again.length;
}

export const isKnown = (sql: SqlStorage, id: string): boolean =>
  sql.exec("SELECT 1 FROM event WHERE id = ?", id).toArray().length > 0;

/** No more than KEPT: the oldest go, and one that had still to be sent is given up. Answers whether that happened. */
function bound(sql: SqlStorage, now: number): void {
  const { first, last } = sql
    .exec<{ first: number | null; last: number | null }>(
      "SELECT (SELECT min(number) FROM event) AS first, (SELECT max(number) FROM event) AS last",
    )
    .one();
  if (first === null || last === null || last - first < KEPT) return;
  sql.exec(
    "DELETE FROM event WHERE number IN (SELECT number FROM event WHERE number <= ? AND status <> 'pending' LIMIT ?)",
    last - KEPT,
    PRUNED_AT_ONCE,
  );
  giveUp(sql, "number <= ?", last - KEPT, "the queue is full", now);
}

/** Drops what has served its time; what could not be sent in that time is given up, and listed for as long again. Answers whether anything is left. */
export function prune(sql: SqlStorage, now: number): boolean {
  sql.exec("DELETE FROM attempt WHERE at < ?", now - KEPT_MS);
  sql.exec("DELETE FROM event WHERE status <> 'pending' AND updated_at < ?", now - KEPT_MS);
  giveUp(sql, "created_at < ?", now - KEPT_MS, "not delivered within 7 days", now);
  return sql.exec("SELECT 1 FROM event LIMIT 1").toArray().length > 0;
}

function giveUp(sql: SqlStorage, where: string, value: number, why: string, now: number): void {
  const gone = sql
    .exec<{ resource: string }>(
      `UPDATE event SET status = 'dead', due_at = NULL, last_error = ?, updated_at = ? WHERE status = 'pending' AND ${where} RETURNING resource`,
      why,
      now,
      value,
    )
    .toArray();
  for (const resource of new Set(gone.map((row) => row.resource))) release(sql, resource, now);
}

/** How many there are of each status; those that wait and those that were given up are counted by indexes of their own. */
export function deliveryTally(sql: SqlStorage): Record<(typeof DELIVERY_STATUSES)[number], number> {
  const { whole, pending, dead } = sql
    .exec<{ whole: number; pending: number; dead: number }>(
      `SELECT (SELECT count(*) FROM event) AS whole, (SELECT count(*) FROM event WHERE status = 'pending') AS pending,
         (SELECT count(*) FROM event WHERE status = 'dead') AS dead`,
    )
    .one();
  return { pending, delivered: whole - pending - dead, dead };
}

type DeliveryRow = Omit<WebhookDelivery, "next_attempt_at" | "created_at" | "updated_at"> & {
  due_at: number | null;
  created_at: number;
  updated_at: number;
};

/** The newest events first. */
export function deliveries(
  sql: SqlStorage,
  limit: number,
  status: string | null,
  id: string | null,
): WebhookDelivery[] {
  return sql
    .exec<DeliveryRow>(
      `SELECT id, type AS kind, body AS payload, status, attempts, due_at, last_error, created_at, updated_at FROM event
         WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR id = ?2) ORDER BY number DESC LIMIT ?3`,
      status,
      id,
      limit,
    )
    .toArray()
    .map(({ due_at, created_at, updated_at, ...row }) => ({
      ...row,
      next_attempt_at: timestamp(due_at),
      created_at: timestamp(created_at),
      updated_at: timestamp(updated_at),
    }));
}

/** The newest attempts first, of one event or of all. */
export function attempts(sql: SqlStorage, limit: number, id: string | null): WebhookAttempt[] {
  return sql
    .exec<Omit<WebhookAttempt, "id" | "kind" | "at"> & { number: number; type: string; at: number }>(
      "SELECT * FROM attempt WHERE ?1 IS NULL OR event_id = ?1 ORDER BY number DESC LIMIT ?2",
      id,
      limit,
    )
    .toArray()
    .map(({ number, type, at, ...row }) => ({ id: number, kind: type, at: timestamp(at), ...row }));
}
