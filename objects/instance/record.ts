import type { AuditEntry, Entry } from "../../contract/event.ts";
import { newId } from "../../contract/id.ts";
import { InstanceIdentity, InstanceSpec, InstanceState } from "../../contract/instance.ts";
import type { WebhookSource } from "../../contract/webhook.ts";
import { setTimer } from "../alarm.ts";
import { postAnnouncement } from "../announce.ts";
import { append } from "../journal.ts";
import { post } from "../outbox.ts";
import { type Deed, entryOf, type IndexRow } from "../projection.ts";
import { changeBuilds, history } from "./build-history.ts";
import type { InstanceDecision } from "./decide.ts";
import type { InstanceFacts } from "./draft.ts";
import { lastFailure } from "./engine-log.ts";
import type { InstanceRecord } from "./kept.ts";
import { unusableKeys } from "./keys.ts";
import { buildsInUse, deadlineOf } from "./letters.ts";
import { isRouteNews, routing } from "./routing.ts";
import { instanceView } from "./view.ts";
import { vitalsOf } from "./vitals.ts";

type Row = {
  identity: string;
  spec: string;
  state: string;
  revision: number;
  updated_at: number;
  deleted_at: number | null;
};

/** The instance, or null when there is none (never made, or forgotten). Throws when what is stored does not fit the contract. */
export function load(sql: SqlStorage): InstanceRecord | null {
  const row = sql
    .exec<Row>("SELECT identity, spec, state, revision, updated_at, deleted_at FROM instance")
    .toArray()[0];
  if (!row) return null;
  return {
    identity: InstanceIdentity.parse(JSON.parse(row.identity)),
    spec: InstanceSpec.parse(JSON.parse(row.spec)),
    state: InstanceState.parse(JSON.parse(row.state)),
    revision: row.revision,
    updated_at: row.updated_at,
    deleted: row.deleted_at !== null,
    ...history(sql),
    unusable_keys: unusableKeys(sql),
    failed_engine: lastFailure(sql),
    vitals: vitalsOf(sql),
    route: routing(sql),
  };
}

export const factsOf = ({ identity, spec, image, vitals }: InstanceRecord, now: number): InstanceFacts => ({
  instance_id: identity.id,
  now,
  jitter: Math.random(),
  spec,
  image,
  busy_at: vitals?.busy_at ?? null,
  ids: { operation: newId("operation", now), build: newId("build", now) },
});

/** What no reader sees of a state: when to look again, and who was asked in vain. */
const HIDDEN: ReadonlySet<string> = new Set(["recheck_at", "ask_at", "refused", "retry_at", "schedule_until"]);
const seenOf = (state: InstanceState): string =>
  JSON.stringify(state, (key, value) => (HIDDEN.has(key) ? undefined : value));

/**
 * Writes what was decided: the row, builds, the journal and the deadline. Answers whether a reader sees a difference: only then is there a new
 * revision, and something to tell the index. Call it inside `commit`.
 */
export function save(
  sql: SqlStorage,
  before: Pick<InstanceRecord, "identity" | "spec" | "state" | "revision"> | null,
  { identity, spec }: Pick<InstanceRecord, "identity" | "spec">,
  decision: InstanceDecision,
  { actor, now }: { actor: string; now: number },
): boolean {
  const { state, entries, builds, size, purge } = decision;
  const present = size === null ? spec : { ...spec, settings: { ...spec.settings, size } };
  changeBuilds(sql, builds, { now, config: present.config, inUse: buildsInUse(state), purge });
  if (state.serving === null) sql.exec("DELETE FROM vitals");
  // Also when nothing changed: the timer that rang was taken, perhaps before its time.
  setTimer(sql, "deadline", deadlineOf(state, present, { now, busy_at: vitalsOf(sql)?.busy_at ?? null }));
  if (isRouteNews(sql, before, { identity, spec: present, state })) post(sql, "route", now);
  const text = JSON.stringify(state);
  const specText = JSON.stringify(present);
  const isSeen =
    before === null ||
    entries.length > 0 ||
    specText !== JSON.stringify(before.spec) ||
    seenOf(before.state) !== seenOf(state);
  if (!isSeen) {
    if (text !== JSON.stringify(before.state)) sql.exec("UPDATE instance SET state = ?", text);
    return false;
  }
  const revision = (before?.revision ?? 0) + 1;
  for (const entry of entries)
    append(sql, entry, { resourceId: identity.id, actor, revision, now, ...changeOf(entry) });
  postAnnouncement(sql, "instance", entries, now);
  sql.exec(
    "INSERT INTO instance (one, identity, spec, state, revision, updated_at) VALUES (1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT (one) DO UPDATE SET spec = ?2, state = ?3, revision = ?4, updated_at = ?5",
    JSON.stringify(identity),
    specText,
    text,
    revision,
    now,
  );
  return true;
}

function changeOf({ reason, data }: Entry): { change?: { old_status: string; new_status: string } } {
  const { old_status, new_status } = (data ?? {}) as { old_status?: string; new_status?: string };
  return reason === "state_transition" && old_status !== undefined && new_status !== undefined
    ? { change: { old_status, new_status } }
    : {};
}

/** Carried by the row in the lists when it reads from a managed database: by it the instance of a database is found. */
export const DATABASE_LABEL = "lamplighter.database";

/** The row of the lists; a deleted one goes out of them. */
export function indexRow(record: InstanceRecord, cursor: number): IndexRow {
  const { identity, spec, state, revision, deleted } = record;
  const { id, namespace, name, database_id } = identity;
  return {
    kind: "instance",
    id,
    namespace,
    name,
    status: state.status,
    // Lists can be asked for those of a connection.
    type: identity.connection_id,
    labels: { ...spec.labels, ...(database_id === null ? {} : { [DATABASE_LABEL]: database_id }) },
    passing: deadlineOf(state, spec, { now: record.updated_at, busy_at: record.vitals?.busy_at ?? null }) !== null,
    version: revision + (deleted ? 1 : 0),
    body: deleted ? null : JSON.stringify(instanceView(record, cursor)),
  };
}

/** Whose journal webhooks are told of. */
export const sourceOf = ({ id, namespace, name }: InstanceIdentity, labels: Record<string, string>): WebhookSource => ({
  family: "instance",
  id,
  namespace,
  name,
  type: "",
  labels,
});

/** Some deeds leave the revision as it is: the request tells them apart. */
export function auditEntry(
  { id, namespace, name }: Pick<InstanceIdentity, "id" | "namespace" | "name">,
  ...deed: Deed
): AuditEntry {
  const entry = entryOf({ kind: "instance", id, namespace, name }, ...deed);
  return { ...entry, id: `${entry.id}:${entry.request_id}` };
}
