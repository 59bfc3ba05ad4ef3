import type { Entry, JournalEvent } from "./event.ts";
import type { FailureKind } from "./workload.ts";

/** What webhooks tell, by family. A new kind of resource with a status adds its family here. */
export const WEBHOOK_EVENTS = {
  deployment: ["status_changed", "health_check_failed", "rolling_update", "scaled", "error"],
  host: ["status_changed"],
  database: ["status_changed"],
  webhook: ["status_changed", "ping"],
  instance: ["status_changed", "goal_set", "goal_cancelled", "goal_reached", "goal_dropped", "operation_failed"],
  /** These three are of instances too. */
  build: ["finished"],
  replication: ["paused", "resumed", "degraded", "resyncing", "recovered"],
  schema: ["drift"],
} as const;

export type WebhookFamily = keyof typeof WEBHOOK_EVENTS;
/** `deployment.status_changed`, `host.status_changed`, … */
export type WebhookEventType = {
  [F in WebhookFamily]: `${F}.${(typeof WEBHOOK_EVENTS)[F][number]}`;
}[WebhookFamily];

/** Whose journal it is. `kind` is the family of its events; `type` is worker or job, "" for what has no such kind. */
export type WebhookSource = {
  family: WebhookFamily;
  id: string;
  namespace: string | null;
  name: string;
  type: string;
  labels: Record<string, string>;
};

/** What is delivered, before it has a body: `id` is the journal entry's own, the same on every attempt and redelivery. */
export type WebhookEvent = {
  id: string;
  type: WebhookEventType;
  timestamp: string;
  resource: string;
  namespace: string | null;
  labels: Record<string, string>;
  data: Record<string, unknown>;
};

/** Who can do something about an error. */
export type ErrorCategory = "user" | "host" | "transient";

type Told = {
  what: string;
  /** Where it is not the family of whose journal it is. */
  family?: WebhookFamily;
  data: (entry: Entry) => Record<string, unknown>;
};

const picked =
  (...names: string[]) =>
  ({ data = {} }: Entry) =>
    Object.fromEntries(names.map((name) => [name, data[name] ?? null]));

const statusChanged: Told = {
  what: "status_changed",
  data: ({ data = {} }) => ({
    old_status: data.old_status ?? null,
    new_status: data.new_status ?? null,
    ...(data.restart_count === undefined ? {} : { restart_count: data.restart_count }),
  }),
};
const healthCheckFailed: Told = {
  what: "health_check_failed",
  data: (entry) => ({ ...picked("instance_id", "action")(entry), message: entry.message }),
};
const rollingUpdate: Told = { what: "rolling_update", data: picked("parent_id", "phase", "drained_instance_id") };
/** Stopped at once for its successor: the update is over as soon as it began. */
const forceReplaced: Told = {
  what: "rolling_update",
  data: (entry) => ({ ...rollingUpdate.data(entry), phase: entry.data?.phase ?? "complete" }),
};
const scaled: Told = { what: "scaled", data: picked("direction", "instance_count", "replicas") };
const failed = (category: ErrorCategory, reason?: string): Told => ({
  what: "error",
  data: (entry) => ({ reason: reason ?? entry.reason, category, message: entry.message }),
});

/** Which journal entries of a deployment are told, and as what, by their `reason`. */
export const TOLD: Readonly<Record<string, Told>> = {
  state_transition: statusChanged,
  health_check_instance_restart: healthCheckFailed,
  health_check_stop: healthCheckFailed,
  health_check_alert: healthCheckFailed,
  rolling_update_step: rollingUpdate,
  rolling_update_complete: rollingUpdate,
  rolling_update_failed: rollingUpdate,
  rolling_update_deadline_forced: rollingUpdate,
  force_replace: forceReplaced,
  scale_up: scaled,
  scale_down: scaled,
  instance_oom: failed("user"),
  image_pull_back_off: failed("user"),
  config_error: failed("user"),
  config_load_error: failed("user", "config_error"),
  secret_load_error: failed("user", "config_error"),
  secret_resolution_error: failed("user", "config_error"),
  image_pull_secret_resolution_error: failed("user", "config_error"),
  volume_resolution_error: failed("user", "config_error"),
  readiness_deadline_exceeded: failed("user"),
  insufficient_resources: failed("host"),
  instance_creation_failed: failed("transient"),
  network_creation_failed: failed("transient"),
  file_system_error: failed("transient"),
  port_allocation_failed: failed("transient"),
  vm_start_failed: failed("transient"),
  firmware_not_found: failed("transient"),
  stats_fetch_failed: failed("transient"),
  apply_timeout: failed("transient"),
  runtime_error: failed("transient"),
};

/** An attempt that failed is told under Ring's word for its kind, whatever the runtime called it. */
const FAILURES: Record<FailureKind, Told> = {
  image_pull_back_off: failed("user", "image_pull_back_off"),
  config_error: failed("user", "config_error"),
  create_container_error: failed("transient", "instance_creation_failed"),
  network_error: failed("transient", "network_creation_failed"),
  file_system_error: failed("transient", "file_system_error"),
  error: failed("transient", "runtime_error"),
};

const said =
  (...names: string[]) =>
  (entry: Entry) => ({ ...picked(...names)(entry), message: entry.message });
const goal = (what: string): Told => ({ what, data: said("action", "by") });
const replication = (what: string): Told => ({ family: "replication", what, data: said("old_state", "new_state") });

/** The same of an instance. */
const TOLD_OF_INSTANCE: Readonly<Record<string, Told>> = {
  state_transition: { what: "status_changed", data: picked("old_status", "new_status", "action") },
  goal_set: { what: "goal_set", data: said("action", "desired_state", "by") },
  goal_cancelled: goal("goal_cancelled"),
  goal_reached: goal("goal_reached"),
  goal_dropped: goal("goal_dropped"),
  operation_failed: { what: "operation_failed", data: said("action", "code", "category", "still_serving") },
  build_finished: { family: "build", what: "finished", data: said("build_id", "status", "artifact_hash", "code") },
  replication_paused: replication("paused"),
  replication_resumed: replication("resumed"),
  replication_degraded: replication("degraded"),
  replication_resyncing: replication("resyncing"),
  replication_recovered: replication("recovered"),
  schema_drift: { family: "schema", what: "drift", data: said("schema_hash", "changes") },
};

function toldAs(family: WebhookFamily, { reason, data }: Entry): Told | null {
  if (family === "instance") return Object.hasOwn(TOLD_OF_INSTANCE, reason) ? (TOLD_OF_INSTANCE[reason] as Told) : null;
  if (family !== "deployment") return reason === "state_transition" ? statusChanged : null;
  if (Object.hasOwn(TOLD, reason)) return TOLD[reason] as Told;
  const kind = data?.kind;
  return typeof kind === "string" && Object.hasOwn(FAILURES, kind) ? FAILURES[kind as FailureKind] : null;
}

/** Whether webhooks are told of an entry: only then is there something to announce. */
export const isTold = (family: WebhookFamily, entry: Entry): boolean => toldAs(family, entry) !== null;

/** What webhooks are told of one line of a journal; null when it is none of their business. */
export function webhookEventOf(event: JournalEvent, source: WebhookSource): WebhookEvent | null {
  const entry = event as Entry;
  const told = toldAs(source.family, entry);
  if (told === null) return null;
  return {
    id: event.id,
    type: `${told.family ?? source.family}.${told.what}` as WebhookEventType,
    timestamp: event.timestamp,
    resource: source.id,
    namespace: source.namespace,
    labels: source.labels,
    data: {
      schema_version: 1,
      [`${source.family}_id`]: source.id,
      ...(source.namespace === null ? {} : { namespace: source.namespace }),
      name: source.name,
      ...(source.type === "" ? {} : { kind: source.type }),
      ...told.data(entry),
      seq: event.seq,
      revision: event.revision,
      actor: event.actor,
    },
  };
}

/** `standard`: `{type, timestamp, data}` as Standard Webhooks has it; `ring`: what is in `data` there, flat. */
export const WEBHOOK_FORMATS = ["standard", "ring"] as const;
export type WebhookFormat = (typeof WEBHOOK_FORMATS)[number];

/** The bytes that are signed and sent; the same on every attempt. */
export const webhookBody = ({ type, timestamp, data }: WebhookEvent, format: WebhookFormat): string =>
  JSON.stringify(format === "ring" ? data : { type, timestamp, data });

const TYPES: ReadonlySet<string> = new Set(
  Object.entries(WEBHOOK_EVENTS).flatMap(([family, words]) => words.map((word) => `${family}.${word}`)),
);

/** What is wrong with one entry of a webhook's `events`, or null. */
export function eventFilterFault(filter: string): string | null {
  if (filter === "*" || TYPES.has(filter)) return null;
  const [family = "", word] = filter.split(".");
  const families = Object.keys(WEBHOOK_EVENTS);
  const isFamily = Object.hasOwn(WEBHOOK_EVENTS, family);
  if (filter.includes("*"))
    return isFamily && filter === `${family}.*`
      ? null
      : `'${filter}' is no wildcard: it is \`*\` for everything, or ${families.map((name) => `\`${name}.*\``).join(", ")}`;
  if (!isFamily) return `'${filter}': there is no family '${family}'; there are ${families.join(", ")}`;
  const known = WEBHOOK_EVENTS[family as WebhookFamily].join(", ");
  return `'${filter}': the family '${family}' has no event '${word ?? ""}'; it has ${known}`;
}

export type WebhookFilter = {
  events: readonly string[];
  namespaces: readonly string[];
  labels: Record<string, string>;
};

/** Whether an endpoint wants an event. Empty lists want everything; what is in no namespace is for endpoints that name none. */
export function wants(filter: WebhookFilter, event: Pick<WebhookEvent, "type" | "namespace" | "labels">): boolean {
  const [family] = event.type.split(".");
  return (
    (filter.events.length === 0 ||
      filter.events.some((one) => one === "*" || one === event.type || one === `${family}.*`)) &&
    (filter.namespaces.length === 0 || (event.namespace !== null && filter.namespaces.includes(event.namespace))) &&
    Object.entries(filter.labels).every(([key, value]) => event.labels[key] === value)
  );
}
