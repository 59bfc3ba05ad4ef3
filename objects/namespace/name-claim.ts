/** Which object of a kind holds a name, for kinds that are made once and never replaced under it. Call what writes inside `commit`. */
export type NamedKind = "schedule" | "database";

export const nameHolder = (sql: SqlStorage, kind: NamedKind, name: string): string | null =>
  sql.exec<{ id: string }>("SELECT id FROM name_claim WHERE kind = ? AND name = ?", kind, name).toArray()[0]?.id ??
  null;

export function takeName(sql: SqlStorage, kind: NamedKind, name: string, id: string): void {
  sql.exec("INSERT OR REPLACE INTO name_claim VALUES (?, ?, ?)", kind, name, id);
}

export function dropName(sql: SqlStorage, kind: NamedKind, name: string, id: string): void {
  sql.exec("DELETE FROM name_claim WHERE kind = ? AND name = ? AND id = ?", kind, name, id);
}
