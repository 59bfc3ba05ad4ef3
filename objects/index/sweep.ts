/**
 * The sweep: an object whose alarm was lost would sit in a passing status for ever. Rows that have not been told of for a while are poked,
 * at first after two minutes, then ever more rarely: one that only waits is not disturbed much.
 */
export const FIRST_POKE_MS = 120_000;
const LAST_POKE_MS = 3_600_000;
const POKED_AT_ONCE = 50;

/** When the next row is to be looked after; null when none is in a passing status. */
export const nextPoke = (sql: SqlStorage): number | null =>
  sql.exec<{ at: number | null }>("SELECT min(poke_at) AS at FROM entry WHERE poke_at IS NOT NULL").one().at;

/** The rows that are due, oldest first, and plans their next time, twice as late. */
export function takeStale(sql: SqlStorage, now: number): { kind: string; id: string }[] {
  return sql
    .exec<{ kind: string; id: string }>(
      `UPDATE entry SET poke_after = min(poke_after * 2, ?1), poke_at = ?2 + min(poke_after * 2, ?1)
       WHERE rowid IN (SELECT rowid FROM entry WHERE poke_at IS NOT NULL AND poke_at <= ?2 ORDER BY poke_at LIMIT ?3) RETURNING kind, id`,
      LAST_POKE_MS,
      now,
      POKED_AT_ONCE,
    )
    .toArray();
}
