/** When a frame last came by `call`. A tunnel's signs of life are counted by the platform; these are written, but not each. */

const WRITE_EVERY_MS = 5_000;

export function noteSeen(sql: SqlStorage, now: number): void {
  sql.exec(
    "INSERT INTO seen VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET at = ?1 WHERE at < ?1 - ?2",
    now,
    WRITE_EVERY_MS,
  );
}

/** 0 for never. */
export const seenAt = (sql: SqlStorage): number =>
  sql.exec<{ at: number }>("SELECT at FROM seen").toArray()[0]?.at ?? 0;
