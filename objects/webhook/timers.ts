import type { EndpointState } from "../../contract/webhook-endpoint.ts";
import { setTimer } from "../alarm.ts";
import { nextDue } from "./queue.ts";
import type { SealedSecret } from "./record.ts";

/** How long after it came the alarm looks after an event that was to be sent at once, ms. */
const SAFETY_NET_MS = 5_000;
/** How late the lists may learn how many deliveries there are of each status, ms. */
const TALLY_LAG_MS = 5_000;
const PRUNE_EVERY_MS = 6 * 3_600_000;

/** When the alarm has to look at the queue. It only moves earlier; one that rings too early finds nothing. */
export function planQueue(sql: SqlStorage, state: EndpointState | undefined, now: number): void {
  const next = state?.status === "active" ? nextDue(sql) : null;
  if (next === null || state?.status !== "active") return;
  const at = Math.max(next, state.held_until ?? 0, now + SAFETY_NET_MS);
  const set = timerAt(sql, "queue");
  if (set === null || at < set) setTimer(sql, "queue", at);
}

export function planPrune(sql: SqlStorage, now: number): void {
  if (timerAt(sql, "prune") === null) setTimer(sql, "prune", now + PRUNE_EVERY_MS);
}

/** After a change of the queue: when it is to be told how many there are of each status. */
export function planTally(sql: SqlStorage, now: number): void {
  if (timerAt(sql, "tally") === null) setTimer(sql, "tally", now + TALLY_LAG_MS);
}

/** When the next secret of a rotation signs no more. */
export function planSecrets(sql: SqlStorage, secrets: readonly SealedSecret[]): void {
  const ends = secrets.flatMap(({ until }) => until ?? []);
  setTimer(sql, "secrets", ends.length === 0 ? null : Math.min(...ends));
}

const timerAt = (sql: SqlStorage, name: string): number | null =>
  sql.exec<{ due_at: number }>("SELECT due_at FROM timer WHERE name = ?", name).toArray()[0]?.due_at ?? null;
