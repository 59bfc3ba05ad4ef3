import { isWell } from "./alarm-pointer.ts";
import { Herd } from "./herd.ts";

/**
 * One alarm, many timers. Timers are rows; the alarm only points at the earliest timer or outbox letter. The pointer moves inside the same
 * transaction as the rows, so there is no moment at which a row waits for an alarm that nobody set.
 */

/**
 * Where this instance of an object last put its alarm, ms since 1970; only a hint that saves moving it. Without one, the alarm is taken to be
 * where the rows want it, or earlier: that is what every commit leaves behind.
 */
const pointers = new WeakMap<DurableObjectStorage, number | null>();

/** Runs one change as a whole: all rows and the alarm, or none. */
export function commit<T>(storage: DurableObjectStorage, work: () => T): T {
  let pointer = pointers.get(storage);
  const result = storage.transactionSync(() => {
    if (pointer === undefined) pointer = earliest(storage.sql);
    const answer = work();
    const wanted = earliest(storage.sql);
    if (!isWell(pointer, wanted, Date.now())) {
      point(storage, wanted);
      pointer = wanted;
    }
    return answer;
  });
  pointers.set(storage, pointer ?? null);
  return result;
}

/** Points the alarm anew, whatever it is now: after an alarm ran, and when an object is poked because its alarm may be lost. */
export function rearm(storage: DurableObjectStorage): void {
  const wanted = earliest(storage.sql);
  point(storage, wanted);
  pointers.set(storage, wanted);
}

/** One for all objects that share this isolate, and with it a thread. */
const herd = new Herd();

/**
 * Whether an alarm leaves its work for a moment later, since it is one of many that ring late. It has then been set anew; a commit meanwhile
 * brings it forward. One that was called for (`poke`) comes without `info`, and goes on.
 */
export function isPostponed(storage: DurableObjectStorage, info: AlarmInvocationInfo | undefined): boolean {
  if (info === undefined || info.isRetry) return false;
  const now = Date.now();
  const wait = herd.delay(info.scheduledTime, now, Math.random());
  if (wait === 0) return false;
  point(storage, now + wait);
  pointers.set(storage, now + wait);
  return true;
}

/** Sets, moves or (with null) clears a timer. Call it inside `commit`. */
export function setTimer(sql: SqlStorage, name: string, dueAt: number | null): void {
  if (dueAt === null) sql.exec("DELETE FROM timer WHERE name = ?", name);
  else
    sql.exec(
      "INSERT INTO timer VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at WHERE due_at <> excluded.due_at",
      name,
      dueAt,
    );
}

/** Takes one due timer: the row is gone when the decision about it is committed, so that a "stay" cannot spin the alarm. */
export function takeDue(sql: SqlStorage, now: number): { name: string; dueAt: number } | undefined {
  const row = sql
    .exec<{ name: string; due_at: number }>(
      "DELETE FROM timer WHERE name = (SELECT name FROM timer WHERE due_at <= ? ORDER BY due_at, name LIMIT 1) RETURNING name, due_at",
      now,
    )
    .toArray()[0];
  return row && { name: row.name, dueAt: row.due_at };
}

/** When the earliest timer is due, ms since 1970. */
export const nextTimer = (sql: SqlStorage): number | null =>
  sql.exec<{ at: number | null }>("SELECT min(due_at) AS at FROM timer").one().at;

/** When the alarm should ring: the earliest timer or letter, null for a resting object. */
export function earliest(sql: SqlStorage): number | null {
  return sql
    .exec<{ at: number | null }>(
      "SELECT min(at) AS at FROM (SELECT min(due_at) AS at FROM timer UNION ALL SELECT min(due_at) FROM outbox)",
    )
    .one().at;
}

/** An alarm set to the past, or to exactly now, from inside `alarm()` has been seen lost or late (workerd #6866): always a little ahead. */
function point(storage: DurableObjectStorage, at: number | null): void {
  if (at === null) void storage.deleteAlarm();
  else void storage.setAlarm(Math.max(at, Date.now() + 1));
}
