import type { Entry } from "../../contract/event.ts";
import type { Mutation } from "../../contract/request.ts";
import { postAnnouncement } from "../announce.ts";
import { append } from "../journal.ts";
import { post } from "../outbox.ts";
import { audit } from "../projection.ts";
import type { EndpointDecision } from "./decide.ts";
import { changeOf, entry, save, saveState, signing, type WebhookRecord, webhookAudit } from "./record.ts";
import { planSecrets } from "./timers.ts";

/** How an endpoint changes: its row, its journal, and who is to be told. Call all of it inside `commit`. */

export function write(
  sql: SqlStorage,
  id: string,
  record: WebhookRecord,
  entries: readonly Entry[],
  actor: string,
  now: number,
): void {
  save(sql, record);
  for (const one of entries)
    append(sql, one, { resourceId: id, actor, revision: record.revision, now, ...changeOf(one) });
  postAnnouncement(sql, "webhook", entries, now);
  post(sql, "index", now);
}

/** Another revision that somebody asked for. */
export function renew(
  sql: SqlStorage,
  id: string,
  old: WebhookRecord,
  next: WebhookRecord,
  entries: Entry[],
  action: string,
  by: Mutation,
  now: number,
): WebhookRecord {
  const record = { ...next, updated_at: now, revision: old.revision + 1 };
  write(sql, id, record, entries, by.actor, now);
  audit(sql, webhookAudit(id, record, action, old.revision, by, now));
  return record;
}

/** What became of the endpoint by itself: a new revision only when its status is another one. */
export function note(
  sql: SqlStorage,
  id: string,
  record: WebhookRecord,
  { state, entries }: EndpointDecision,
  now: number,
): void {
  if (entries.length > 0) {
    const next = { ...record, state, updated_at: now, revision: record.revision + 1 };
    write(sql, id, next, entries, "webhook", now);
  } else if (JSON.stringify(state) !== JSON.stringify(record.state)) saveState(sql, state);
}

/** Forgets the secrets that sign no more. */
export function dropSecrets(sql: SqlStorage, id: string, record: WebhookRecord | null, now: number): void {
  if (!record) return;
  const left = { ...record, secrets: signing(record, now), updated_at: now, revision: record.revision + 1 };
  write(sql, id, left, [entry("secret_expired", "the secret before the newest signs no more")], "webhook", now);
  planSecrets(sql, left.secrets);
}
