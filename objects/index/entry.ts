import type { AuditEntry } from "../../contract/event.ts";
import type { IndexRow } from "../projection.ts";
import { FIRST_POKE_MS } from "./sweep.ts";

/** A projection cannot be late by more than this, ms: so long a gone resource leaves a tombstone. */
const TOMBSTONE_MS = 86_400_000;
const TRAIL_KEPT_MS = 90 * 86_400_000;
/** Pruning is spread: each change takes away a little of what is too old. */
const PRUNED_AT_ONCE = 20;

/** Takes over a row when it is newer than the one that is known. Answers whether it was. */
export function upsert(sql: SqlStorage, row: IndexRow, now: number): boolean {
  const passing = row.passing && row.body !== null;
  return (
    sql.exec(
      `INSERT INTO entry (kind, id, namespace, name, status, type, labels, version, gone_at, poke_at, poke_after, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (kind, id) DO UPDATE SET namespace = ?3, name = ?4, status = ?5, type = ?6, labels = ?7, version = ?8, gone_at = ?9,
           poke_at = ?10, poke_after = ?11, body = ?12
         WHERE ?8 > version`,
      row.kind,
      row.id,
      row.namespace,
      row.name,
      row.status,
      row.type,
      JSON.stringify(row.labels),
      row.version,
      row.body === null ? now : null,
      passing ? now + FIRST_POKE_MS : null,
      passing ? FIRST_POKE_MS : null,
      row.body,
    ).rowsWritten > 0
  );
}

export const bodyOf = (sql: SqlStorage, kind: string, id: string): string | null =>
  sql.exec<{ body: string | null }>("SELECT body FROM entry WHERE kind = ? AND id = ?", kind, id).toArray()[0]?.body ??
  null;

/** Appends audit entries; one that is there already falls on itself. */
export function keepTrail(sql: SqlStorage, audits: readonly AuditEntry[]): void {
  for (const entry of audits) {
    sql.exec(
      "INSERT INTO trail VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
      `${entry.timestamp}~${entry.id}`,
      entry.namespace,
      entry.resource_id,
      entry.actor,
      JSON.stringify(entry),
    );
  }
}

/** Drops tombstones and audit entries that have served their time. */
export function prune(sql: SqlStorage, now: number): void {
  sql.exec(
    "DELETE FROM entry WHERE rowid IN (SELECT rowid FROM entry WHERE gone_at IS NOT NULL AND gone_at <= ? LIMIT ?)",
    now - TOMBSTONE_MS,
    PRUNED_AT_ONCE,
  );
  sql.exec(
    "DELETE FROM trail WHERE key IN (SELECT key FROM trail WHERE key < ? ORDER BY key LIMIT ?)",
    new Date(now - TRAIL_KEPT_MS).toISOString(),
    PRUNED_AT_ONCE,
  );
}
