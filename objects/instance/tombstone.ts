import { IDEMPOTENCY_KEPT_MS } from "../../contract/request.ts";
import { setTimer } from "../alarm.ts";

const TABLES = [
  "instance",
  "vitals",
  "build",
  "artifact",
  "key_secret",
  "api_key",
  "journal",
  "timer",
  "outbox",
  "audit",
];

/** Forgets an instance that was deleted, but for the answers to its requests. Call it inside `commit`. */
export function bury(sql: SqlStorage, now: number): void {
  for (const table of TABLES) sql.exec(`DELETE FROM ${table}`);
  sql.exec("INSERT INTO tombstone VALUES (1, ?)", now);
  setTimer(sql, "forget", now + IDEMPOTENCY_KEPT_MS);
}

/** The tombstone has served its time. */
export const isForgotten = (sql: SqlStorage, now: number): boolean =>
  sql.exec("SELECT 1 FROM tombstone WHERE purged_at <= ?", now - IDEMPOTENCY_KEPT_MS).toArray().length > 0;
