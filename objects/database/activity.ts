/** When somebody was last there: from then on it may be stopped for being idle. Call what writes inside `commit`. */
export function active(sql: SqlStorage, at: number): void {
  sql.exec("INSERT INTO activity VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET at = ?1 WHERE at < ?1", at);
}

export const lastActive = (sql: SqlStorage): number | null =>
  sql.exec<{ at: number }>("SELECT at FROM activity").toArray()[0]?.at ?? null;
