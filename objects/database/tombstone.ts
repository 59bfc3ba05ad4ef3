import { IDEMPOTENCY_KEPT_MS } from "../../contract/request.ts";
import { setTimer } from "../alarm.ts";
import { announce, isAnnounced } from "../announce.ts";
import { project } from "../projection.ts";
import { remote } from "../remote.ts";
import { type DatabaseRecord, sourceOf } from "./record.ts";
import { indexRow } from "./view.ts";

/** A purged database stays known as purged this long, ms: its answers to requests with an Idempotency-Key are kept for so long. */
const TOMBSTONE_MS = IDEMPOTENCY_KEPT_MS;

const TABLES = ["database", "credential", "scram", "lease", "activity", "journal", "timer", "outbox", "audit"];

/** What others are still to hear of a database of which nothing is left. */
export async function sayTheRest(
  sql: SqlStorage,
  record: DatabaseRecord,
  env: Pick<Env, "INDEX" | "NAMESPACE" | "WEBHOOK">,
): Promise<void> {
  const { identity } = record;
  if (!isAnnounced(sql)) await announce(sql, env, sourceOf(record));
  await remote(env.NAMESPACE, identity.namespace).releaseDatabase(identity.name, identity.id);
  await project(sql, env.INDEX, indexRow(sql, record, new Set(), true));
}

/** Forgets a database of which nothing is left, but for the fact that it was. Call it inside `commit`. */
export function bury(sql: SqlStorage, now: number): void {
  for (const table of TABLES) sql.exec(`DELETE FROM ${table}`);
  sql.exec("INSERT INTO tombstone VALUES (1, ?)", now);
  setTimer(sql, "forget", now + TOMBSTONE_MS);
}

/** The tombstone has served its time. */
export const isForgotten = (sql: SqlStorage, now: number): boolean =>
  sql.exec("SELECT 1 FROM tombstone WHERE purged_at <= ?", now - TOMBSTONE_MS).toArray().length > 0;
