import type { AuditEntry } from "../../contract/event.ts";
import type { HookDelivery, HookSource, HookView } from "../../contract/hook.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { type By, entryOf, type IndexRow } from "../projection.ts";

/** What a hook is from its creation on. */
export type HookConfig = {
  namespace: string;
  deployment: string;
  source: HookSource;
  image: string | null;
  branches: string[];
  tags: string[];
  description: string;
};

export type HookRecord = {
  config: HookConfig;
  sealed: string;
  created_at: number;
  revision: number;
  deleted_at: number | null;
};

export function load(sql: SqlStorage): HookRecord | null {
  const row = sql
    .exec<Omit<HookRecord, "config"> & { config: string }>(
      "SELECT config, sealed, created_at, revision, deleted_at FROM hook",
    )
    .toArray()[0];
  return row ? { ...row, config: JSON.parse(row.config) as HookConfig } : null;
}

export function save(sql: SqlStorage, { config, sealed, created_at, revision, deleted_at }: HookRecord): void {
  sql.exec(
    "INSERT OR REPLACE INTO hook VALUES (1, ?, ?, ?, ?, ?)",
    JSON.stringify(config),
    sealed,
    created_at,
    revision,
    deleted_at,
  );
}

export const hookView = (id: string, { config, created_at, revision }: HookRecord): HookView => ({
  id,
  ...config,
  path: `/hooks/${id}`,
  created_at: timestamp(created_at),
  revision,
});

export const hookRow = (id: string, record: HookRecord): IndexRow => ({
  kind: "hook",
  id,
  namespace: record.config.namespace,
  name: record.config.deployment,
  status: "active",
  type: record.config.source,
  labels: {},
  passing: false,
  version: record.revision,
  body: record.deleted_at === null ? JSON.stringify(hookView(id, record)) : null,
});

export const hookAudit = (
  id: string,
  { config, revision }: HookRecord,
  action: string,
  by: By,
  now: number,
): AuditEntry =>
  entryOf(
    { kind: "hook", id, name: config.deployment, namespace: config.namespace },
    action,
    by,
    now,
    revision === 1 ? null : revision - 1,
    revision,
  );

/** The newest first. */
export const deliveriesOf = (sql: SqlStorage, limit: number, id: string | null = null): HookDelivery[] =>
  sql
    .exec<Omit<HookDelivery, "at"> & { at: number }>(
      "SELECT id, at, outcome, message, image, deployment_id FROM delivery WHERE ?1 IS NULL OR id = ?1 ORDER BY number DESC LIMIT ?2",
      id,
      limit,
    )
    .toArray()
    .map((row) => ({ ...row, at: timestamp(row.at) }));
