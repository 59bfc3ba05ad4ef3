/** Which resource of a kind holds a name, for kinds whose resources are objects of their own. Call what writes inside `commit`. */

export type NamedKind = "instance" | "connection";
export type NameHolder = { id: string; at: number };

/** How long a name is kept for an object that has not been made: its request may still be under way, ms. */
export const UNMADE_MS = 60_000;

export const nameHolder = (sql: SqlStorage, kind: NamedKind, name: string): NameHolder | null =>
  sql.exec<NameHolder>("SELECT id, at FROM name_claim WHERE kind = ? AND name = ?", kind, name).toArray()[0] ?? null;

export function takeName(sql: SqlStorage, kind: NamedKind, name: string, id: string, now: number): void {
  sql.exec("INSERT OR REPLACE INTO name_claim VALUES (?, ?, ?, ?)", kind, name, id, now);
}

export function dropName(sql: SqlStorage, kind: NamedKind, name: string, id: string): void {
  sql.exec("DELETE FROM name_claim WHERE kind = ? AND name = ? AND id = ?", kind, name, id);
}
