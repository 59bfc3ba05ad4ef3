import { newId } from "../../contract/id.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";

/** The schedule that holds a name, or null. */
export const scheduleOf = (sql: SqlStorage, name: string): string | null =>
  sql.exec<{ schedule_id: string }>("SELECT schedule_id FROM schedule_claim WHERE name = ?", name).toArray()[0]
    ?.schedule_id ?? null;

/** The id of the schedule that is meant by a name from now on: who holds it, or a new one. For `once`, which keeps it by the request's key. */
export function claimSchedule(sql: SqlStorage, name: string, holder: string | null, now: number): Reply<Answer> {
  const id = holder ?? newId("schedule", now);
  sql.exec("INSERT OR REPLACE INTO schedule_claim VALUES (?, ?)", name, id);
  return accept({ status: 200, body: id, revision: 0 });
}

export function releaseSchedule(sql: SqlStorage, name: string, scheduleId: string): void {
  sql.exec("DELETE FROM schedule_claim WHERE name = ? AND schedule_id = ?", name, scheduleId);
}

/** Forgets which schedule a request was about. */
export function giveUpKey(sql: SqlStorage, { idempotency }: Mutation): void {
  if (idempotency) sql.exec("DELETE FROM request WHERE key = ?", idempotency.key);
}
