import { IDEMPOTENCY_KEPT_MS } from "../contract/request.ts";
import { setTimer } from "./alarm.ts";

/**
 * What stays of a resource that was purged: the fact that it was, and its answers to requests with an Idempotency-Key. It stays as long as
 * those are kept, ms; no message about it is on its way any longer than that.
 */
const KEPT_MS = IDEMPOTENCY_KEPT_MS;

/** Empties an object's tables, and leaves the tombstone. Call it inside `commit`. */
export function entomb(sql: SqlStorage, tables: readonly string[], now: number): void {
  for (const table of [...tables, "journal", "timer", "outbox", "audit"]) sql.exec(`DELETE FROM ${table}`);
  sql.exec("INSERT INTO tombstone VALUES (1, ?)", now);
  setTimer(sql, "forget", now + KEPT_MS);
}

export const isPurged = (sql: SqlStorage): boolean => sql.exec("SELECT 1 FROM tombstone").toArray().length > 0;

/** Purged, and the tombstone has served its time: everything may go. */
export const isForgotten = (sql: SqlStorage, now: number): boolean =>
  sql.exec("SELECT 1 FROM tombstone WHERE purged_at <= ?", now - KEPT_MS).toArray().length > 0;
