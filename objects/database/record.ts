import { DatabaseIdentity, DatabaseSettings, DatabaseState } from "../../contract/database-state.ts";
import type { AuditEntry, Entry } from "../../contract/event.ts";
import type { WebhookSource } from "../../contract/webhook.ts";
import { setTimer } from "../alarm.ts";
import { postAnnouncement } from "../announce.ts";
import { append } from "../journal.ts";
import { type Deed, entryOf } from "../projection.ts";
import { newestId } from "./credential.ts";
import type { DatabaseDecision } from "./decide.ts";
import type { DatabaseFacts, Demand } from "./draft.ts";
import { Keeping } from "./keepers.ts";
import { deadlineOf } from "./letters.ts";
import { readerRole } from "./reader.ts";

/** The one row of a DatabaseObject. */
export type DatabaseRecord = {
  identity: DatabaseIdentity;
  settings: DatabaseSettings;
  keeping: Keeping | null;
  state: DatabaseState;
  revision: number;
  updated_at: number;
};

type Row = {
  identity: string;
  settings: string;
  keeping: string | null;
  state: string;
  revision: number;
  updated_at: number;
};

/** The database, or null when there is none (never made, or purged). Throws when the stored state does not fit the contract. */
export function load(sql: SqlStorage): DatabaseRecord | null {
  const row = sql
    .exec<Row>("SELECT identity, settings, keeping, state, revision, updated_at FROM database")
    .toArray()[0];
  return row
    ? {
        identity: DatabaseIdentity.parse(JSON.parse(row.identity)),
        settings: DatabaseSettings.parse(JSON.parse(row.settings)),
        keeping: row.keeping === null ? null : Keeping.parse(JSON.parse(row.keeping)),
        state: DatabaseState.parse(JSON.parse(row.state)),
        revision: row.revision,
        updated_at: row.updated_at,
      }
    : null;
}

export function insert(
  sql: SqlStorage,
  identity: DatabaseIdentity,
  settings: DatabaseSettings,
  { state, entries }: DatabaseDecision,
  facts: DatabaseFacts,
  actor: string,
): void {
  const { now } = facts;
  setTimer(sql, "deadline", deadlineOf(state, facts));
  sql.exec(
    "INSERT INTO database VALUES (1, ?, ?, ?, NULL, NULL, ?, 1, ?)",
    state.status,
    JSON.stringify(identity),
    JSON.stringify(settings),
    JSON.stringify(DatabaseState.parse(state)),
    now,
  );
  journal(sql, identity.id, entries, 1, { actor, now });
}

/** Writes what was decided: the row, the journal and the deadline. Call it inside `commit`. Answers whether anything changed. */
export function save(
  sql: SqlStorage,
  before: DatabaseRecord,
  { state, entries }: DatabaseDecision,
  facts: DatabaseFacts,
  head: { actor: string; now: number; settings?: DatabaseSettings },
): boolean {
  // Also when nothing changed: the timer that rang was taken, perhaps before its time.
  setTimer(sql, "deadline", deadlineOf(state, facts));
  const text = JSON.stringify(DatabaseState.parse(state));
  const settings = JSON.stringify(head.settings ?? before.settings);
  const same = text === JSON.stringify(before.state) && settings === JSON.stringify(before.settings);
  if (same && entries.length === 0) return false;
  const revision = before.revision + 1;
  journal(sql, before.identity.id, entries, revision, head);
  sql.exec(
    "UPDATE database SET status = ?, settings = ?, state = ?, revision = ?, updated_at = ?",
    state.status,
    settings,
    text,
    revision,
    head.now,
  );
  return true;
}

function journal(
  sql: SqlStorage,
  resourceId: string,
  entries: readonly Entry[],
  revision: number,
  { actor, now }: { actor: string; now: number },
): void {
  for (const entry of entries) append(sql, entry, { resourceId, actor, revision, now, ...changeOf(entry) });
  postAnnouncement(sql, "database", entries, now);
}

function changeOf({ reason, data }: Entry): { change?: { old_status: string; new_status: string } } {
  const { old_status, new_status } = (data ?? {}) as { old_status?: string; new_status?: string };
  return reason === "state_transition" && old_status !== undefined && new_status !== undefined
    ? { change: { old_status, new_status } }
    : {};
}

export const factsOf = (
  sql: SqlStorage,
  { settings, keeping }: Pick<DatabaseRecord, "settings" | "keeping">,
  demand: Demand,
  now: number,
): DatabaseFacts => ({
  now,
  jitter: Math.random(),
  profile: settings.profile,
  idle_ms: settings.idle_timeout === 0 ? null : settings.idle_timeout * 1000,
  prepared: keeping !== null,
  kept: (keeping?.keepers.length ?? 0) > 0,
  credential: newestId(sql),
  reader: readerRole(sql)?.credential ?? null,
  demand,
});

/** Whose journal webhooks are told of. */
export const sourceOf = ({ identity, settings }: DatabaseRecord): WebhookSource => ({
  family: "database",
  id: identity.id,
  namespace: identity.namespace,
  name: identity.name,
  type: "",
  labels: settings.labels,
});

export const auditEntry = ({ id, namespace, name }: DatabaseIdentity, ...deed: Deed): AuditEntry =>
  entryOf({ kind: "database", id, namespace, name }, ...deed);
