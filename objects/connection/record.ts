import { z } from "zod";
import { ConnectionSpec, type ConnectionStatus, type ConnectionView } from "../../contract/connection.ts";
import type { AuditEntry, Entry } from "../../contract/event.ts";
import type { Sealed } from "../../contract/sealed.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { append } from "../journal.ts";
import { type Deed, entryOf, type IndexRow } from "../projection.ts";
import { ConnectionState } from "./decide.ts";

export const ConnectionIdentity = z.object({
  id: z.string(),
  namespace: z.string(),
  name: z.string(),
  database_id: z.string().nullable(),
  created_at: z.int(),
  /** It is only tested, and then forgotten: nobody sees it. */
  unsaved: z.literal(true).optional(),
});
export type ConnectionIdentity = z.infer<typeof ConnectionIdentity>;

/** A ConnectionObject's row, and who reads through it. */
export type ConnectionRecord = {
  identity: ConnectionIdentity;
  spec: ConnectionSpec;
  password: Sealed;
  state: ConnectionState;
  revision: number;
  updated_at: number;
  deleted: boolean;
  attached: { instance_id: string; schema: string; at: number }[];
};

type Row = {
  identity: string;
  spec: string;
  password: string;
  state: string;
  revision: number;
  updated_at: number;
  deleted_at: number | null;
};

export function load(sql: SqlStorage): ConnectionRecord | null {
  const row = sql
    .exec<Row>("SELECT identity, spec, password, state, revision, updated_at, deleted_at FROM connection")
    .toArray()[0];
  if (!row) return null;
  return {
    identity: ConnectionIdentity.parse(JSON.parse(row.identity)),
    spec: ConnectionSpec.parse(JSON.parse(row.spec)),
    password: row.password,
    state: ConnectionState.parse(JSON.parse(row.state)),
    revision: row.revision,
    updated_at: row.updated_at,
    deleted: row.deleted_at !== null,
    attached: sql
      .exec<{ instance_id: string; schema: string; at: number }>(
        "SELECT instance_id, schema, at FROM attached ORDER BY instance_id",
      )
      .toArray(),
  };
}

/** Writes what there is of it now, as another revision. Call it inside `commit`. */
export function save(
  sql: SqlStorage,
  record: Pick<ConnectionRecord, "identity" | "spec" | "password" | "state">,
  entries: readonly Entry[],
  { revision, actor, now }: { revision: number; actor: string; now: number },
): void {
  for (const entry of entries) append(sql, entry, { resourceId: record.identity.id, actor, revision, now });
  sql.exec(
    "INSERT INTO connection (one, identity, spec, password, state, revision, updated_at) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (one) DO UPDATE SET spec = ?2, password = ?3, state = ?4, revision = ?5, updated_at = ?6",
    JSON.stringify(record.identity),
    JSON.stringify(record.spec),
    record.password,
    JSON.stringify(ConnectionState.parse(record.state)),
    revision,
    now,
  );
}

const statusOf = ({ test, last_test }: ConnectionState): ConnectionStatus =>
  test !== null ? "testing" : last_test === null ? "untested" : last_test.ok ? "ok" : "failing";

export function connectionView(record: ConnectionRecord, event_cursor: number): ConnectionView {
  const { identity, spec, state, revision, attached } = record;
  const status = statusOf(state);
  const testing = state.test !== null;
  const inUse = attached.length > 0;
  return {
    ...identity,
    ...spec,
    status,
    message: testing ? "it is being tested" : (state.last_test?.error?.message ?? ""),
    last_test: state.last_test,
    instances: attached.map(({ instance_id }) => instance_id),
    created_at: timestamp(identity.created_at),
    updated_at: timestamp(record.updated_at),
    revision,
    allowedActions: {
      update: { allowed: true },
      test: { allowed: true },
      delete: inUse
        ? { allowed: false, code: "connection_in_use", reason: `${attached.length} instances read through it` }
        : { allowed: true },
    },
    event_cursor,
  };
}

export function indexRow(record: ConnectionRecord, cursor: number): IndexRow {
  const { identity, state, revision } = record;
  const deleted = record.deleted || identity.unsaved === true;
  return {
    kind: "connection",
    id: identity.id,
    namespace: identity.namespace,
    name: identity.name,
    status: statusOf(state),
    type: record.spec.kind,
    labels: {},
    passing: state.test !== null || state.leaving.length > 0,
    version: revision + (deleted ? 1 : 0),
    body: deleted ? null : JSON.stringify(connectionView(record, cursor)),
  };
}

/** Some deeds leave the revision as it is: the request tells them apart. */
export function auditEntry({ id, namespace, name }: ConnectionIdentity, ...deed: Deed): AuditEntry {
  const entry = entryOf({ kind: "connection", id, namespace, name }, ...deed);
  return { ...entry, id: `${entry.id}:${entry.request_id}` };
}
