import { allowedActions } from "../../contract/action.ts";
import type { AuditEntry, Entry } from "../../contract/event.ts";
import { timestamp } from "../../contract/timestamp.ts";
import type { WebhookFormat, WebhookSource } from "../../contract/webhook.ts";
import { EndpointState, WEBHOOK_ACTION_TABLE, type WebhookView } from "../../contract/webhook-endpoint.ts";
import { cursor } from "../journal.ts";
import { type By, entryOf, type IndexRow } from "../projection.ts";
import { messageOf } from "./decide.ts";

/** What a user says of an endpoint. */
export type WebhookConfig = {
  url: string;
  events: string[];
  namespaces: string[];
  labels: Record<string, string>;
  format: WebhookFormat;
  ring_headers: boolean;
  description: string;
};

/** `until`: from then on it signs no more; null for the newest. */
export type SealedSecret = { sealed: string; until: number | null };

export type WebhookRecord = {
  config: WebhookConfig;
  state: EndpointState;
  secrets: SealedSecret[];
  created_at: number;
  updated_at: number;
  revision: number;
};

type Row = {
  config: string;
  state: string;
  secrets: string;
  created_at: number;
  updated_at: number;
  revision: number;
};

export function load(sql: SqlStorage): WebhookRecord | null {
  const row = sql
    .exec<Row>("SELECT config, state, secrets, created_at, updated_at, revision FROM webhook")
    .toArray()[0];
  return row
    ? {
        ...row,
        config: JSON.parse(row.config) as WebhookConfig,
        state: EndpointState.parse(JSON.parse(row.state)),
        secrets: JSON.parse(row.secrets) as SealedSecret[],
      }
    : null;
}

export function save(sql: SqlStorage, record: WebhookRecord): void {
  sql.exec(
    "INSERT OR REPLACE INTO webhook VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
    JSON.stringify(record.config),
    record.state.status,
    JSON.stringify(record.state),
    JSON.stringify(record.secrets),
    record.created_at,
    record.updated_at,
    record.revision,
  );
}

/** The state alone, which moves with failures and is no new revision. */
export const saveState = (sql: SqlStorage, state: EndpointState): void =>
  void sql.exec("UPDATE webhook SET status = ?, state = ?", state.status, JSON.stringify(state));

/** Those that sign now, the newest first. */
export const signing = ({ secrets }: WebhookRecord, now: number): SealedSecret[] =>
  secrets.filter(({ until }) => until === null || until > now);

export function webhookView(sql: SqlStorage, id: string, record: WebhookRecord, now: number): WebhookView {
  const { config, state } = record;
  const since = state.status === "active" ? state.failing_since : null;
  return {
    id,
    ...config,
    status: state.status,
    reason: state.status === "disabled" ? state.reason : state.status,
    message: messageOf(state),
    failing_since: timestamp(since),
    secrets: signing(record, now).length,
    created_at: timestamp(record.created_at),
    updated_at: timestamp(record.updated_at),
    revoked_at: state.status === "revoked" ? timestamp(state.at) : null,
    revision: record.revision,
    allowedActions: allowedActions(WEBHOOK_ACTION_TABLE, state.status),
    event_cursor: cursor(sql),
  };
}

export const webhookRow = (record: WebhookRecord, view: WebhookView, gone: boolean): IndexRow => ({
  kind: "webhook",
  id: view.id,
  namespace: null,
  name: record.config.url,
  status: record.state.status,
  type: "",
  labels: {},
  passing: false,
  version: record.revision + (gone ? 1 : 0),
  body: gone ? null : JSON.stringify(view),
});

/** Whose journal other webhooks are told of. */
export const webhookSource = (id: string, { config }: WebhookRecord): WebhookSource => ({
  family: "webhook",
  id,
  namespace: null,
  name: config.url,
  type: "",
  labels: {},
});

export const webhookAudit = (
  id: string,
  { config, revision }: WebhookRecord,
  action: string,
  before: number | null,
  by: By,
  now: number,
): AuditEntry => entryOf({ kind: "webhook", id, name: config.url, namespace: null }, action, by, now, before, revision);

/** A line of the journal about the endpoint itself. */
export const entry = (reason: string, message: string): Entry => ({
  level: "info",
  component: "webhook",
  reason,
  message,
});

export function changeOf({ data }: Entry): { change?: { old_status: string; new_status: string } } {
  const { old_status, new_status } = (data ?? {}) as { old_status?: string; new_status?: string };
  return old_status !== undefined && new_status !== undefined ? { change: { old_status, new_status } } : {};
}
