/** Which object of a kind holds a name, for kinds that are made once and never replaced under it. Call what writes inside `commit`. */
export type ClaimedKind = "database";

export const claimedBy = (sql: SqlStorage, kind: ClaimedKind, name: string): string | null =>
  sql.exec<{ id: string }>("SELECT id FROM noun_claim WHERE kind = ? AND name = ?", kind, name).toArray()[0]?.id ??
  null;

export function claimNoun(sql: SqlStorage, kind: ClaimedKind, name: string, id: string): void {
  sql.exec("INSERT OR REPLACE INTO noun_claim VALUES (?, ?, ?)", kind, name, id);
}

export function releaseNoun(sql: SqlStorage, kind: ClaimedKind, name: string, id: string): void {
  sql.exec("DELETE FROM noun_claim WHERE kind = ? AND name = ? AND id = ?", kind, name, id);
}
