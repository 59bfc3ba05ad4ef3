import { IDEMPOTENCY_KEPT_MS } from "../../contract/request.ts";
import { setTimer } from "../alarm.ts";
import { isAnnounced } from "../announce.ts";

/**
 * A purged deployment stays known as purged this long, ms: its answers to requests with an Idempotency-Key are kept for so long, and no message
 * about it is on its way any longer than that.
 */
const TOMBSTONE_MS = IDEMPOTENCY_KEPT_MS;

/** Forgets a deployment of which nothing is left, but for the fact that it was. Call it inside `commit`. */
export function bury(sql: SqlStorage, now: number): void {
  // Its letter is tried again, and announces the rest.
  if (!isAnnounced(sql)) throw new Error("webhooks have not been told of all of it");
  for (const table of ["deployment", "journal", "timer", "outbox", "audit", "health_result"])
    sql.exec(`DELETE FROM ${table}`);
  sql.exec("INSERT INTO tombstone VALUES (1, ?)", now);
  setTimer(sql, "forget", now + TOMBSTONE_MS);
}

/** The letters that go out before it is forgotten; what a purge says itself is not among them. */
export const lastWords = (sql: SqlStorage): Set<string> =>
  new Set([
    "announce",
    ...sql
      .exec<{ key: string }>("SELECT key FROM outbox WHERE key NOT IN ('purge', 'index', 'release')")
      .toArray()
      .map(({ key }) => key),
  ]);

/** The tombstone has served its time. */
export const isForgotten = (sql: SqlStorage, now: number): boolean =>
  sql.exec("SELECT 1 FROM tombstone WHERE purged_at <= ?", now - TOMBSTONE_MS).toArray().length > 0;
