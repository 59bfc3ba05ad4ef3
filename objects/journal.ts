import type { Entry, JournalEvent, Level } from "../contract/event.ts";
import { timestamp } from "../contract/timestamp.ts";

/** How many events an object keeps. `seq` goes on rising; the oldest are dropped, unless webhooks have still to be told of them. */
const KEPT = 1000;

export type JournalHead = {
  resourceId: string;
  actor: string;
  revision: number;
  now: number;
  /** Set on the entry that tells of a change of status. */
  change?: { old_status: string; new_status: string };
};

/** Appends one event inside the change's transaction. Answers its seq, which has no gaps. */
export function append(sql: SqlStorage, entry: Entry, head: JournalHead): number {
  const seq = cursor(sql) + 1;
  const event: JournalEvent = {
    id: `${head.resourceId}:${seq}`,
    seq,
    resource_id: head.resourceId,
    timestamp: timestamp(head.now),
    ...entry,
    actor: head.actor,
    revision: head.revision,
    ...head.change,
  };
  sql.exec("INSERT INTO journal VALUES (?, ?, ?, ?)", seq, head.now, entry.level, JSON.stringify(event));
  if (seq > KEPT)
    sql.exec(
      "DELETE FROM journal WHERE seq <= ?1 AND (seq <= (SELECT seq FROM announced) OR NOT EXISTS (SELECT 1 FROM outbox WHERE key = 'announce'))",
      seq - KEPT,
    );
  return seq;
}

/** seq of the newest event, 0 when there is none. */
export const cursor = (sql: SqlStorage): number =>
  sql.exec<{ seq: number | null }>("SELECT max(seq) AS seq FROM journal").one().seq ?? 0;

/** The newest events first, as JSON texts. */
export function newest(sql: SqlStorage, level: Level | null, limit: number): string[] {
  return sql
    .exec<{ body: string }>(
      "SELECT body FROM journal WHERE ?1 IS NULL OR level = ?1 ORDER BY seq DESC LIMIT ?2",
      level,
      limit,
    )
    .toArray()
    .map(({ body }) => body);
}

/** The events after a seq, oldest first, as JSON texts with their seq: what a stream sends. */
export function after(sql: SqlStorage, seq: number, limit: number): { seq: number; body: string }[] {
  return sql
    .exec<{ seq: number; body: string }>("SELECT seq, body FROM journal WHERE seq > ? ORDER BY seq LIMIT ?", seq, limit)
    .toArray();
}
