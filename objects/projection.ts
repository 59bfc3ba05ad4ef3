import type { AuditEntry } from "../contract/event.ts";
import type { Mutation } from "../contract/request.ts";
import { timestamp } from "../contract/timestamp.ts";
import { remote } from "./remote.ts";

/**
 * What objects tell the IndexObject: their row in the lists, and the audit entries that they made. A row carries the resource's revision as
 * its version, and a late one never replaces a newer one.
 */
export type IndexRow = {
  /** The noun. */
  kind:
    | "deployment"
    | "schedule"
    | "namespace"
    | "config"
    | "secret"
    | "volume"
    | "database"
    | "webhook"
    | "hook"
    | "user"
    | "host"
    | "connection"
    | "instance"
    | "token";
  id: string;
  /** Null for what belongs to the cluster. */
  namespace: string | null;
  name: string;
  status: string;
  /** The resource's own `kind` where it has one (worker, job), else "". */
  type: string;
  labels: Record<string, string>;
  /** In a passing status: the sweep pokes it when it sits there too long. */
  passing: boolean;
  version: number;
  /** The view as the API answers it, JSON; null when the resource is gone. */
  body: string | null;
};

/** `tally`: what the object counts of what it holds, by word; left out where it counts nothing, or nothing anew. */
export type Projection = { row: IndexRow; audits: AuditEntry[]; tally?: Record<string, number> };

/** How the rows of namespaces are spread over IndexObjects. Fixed for good: changing it would orphan rows. */
export const NAMESPACE_SHARDS = 8;
export const CLUSTER_SHARD = "cluster";
export const ALL_NAMESPACE_SHARDS: readonly string[] = Array.from(
  { length: NAMESPACE_SHARDS },
  (_, i) => `namespaces-${i}`,
);

/** The IndexObject that lists what belongs to a namespace, or (null) to the cluster. FNV-1a over the name. */
export function shardOf(namespace: string | null): string {
  if (namespace === null) return CLUSTER_SHARD;
  let hash = 0x811c9dc5;
  for (let i = 0; i < namespace.length; i++) hash = Math.imul(hash ^ namespace.charCodeAt(i), 0x01000193) >>> 0;
  return `namespaces-${hash % NAMESPACE_SHARDS}`;
}

/** Who does something, and by which request. */
export type By = Pick<Mutation, "actor" | "request_id">;
/** What is done to a resource; `before` and `after` are its revisions. */
export type Deed = [action: string, by: By, now: number, before: number | null, after: number | null];

/** A deed in the trail. The same deed told again has the same id. */
export const entryOf = (
  { kind, id, name, namespace }: { kind: IndexRow["kind"]; id: string; name: string; namespace: string | null },
  ...[action, by, now, before, after]: Deed
): AuditEntry => ({
  id: `${id}:${action}:${after}`,
  timestamp: timestamp(now),
  actor: by.actor,
  action,
  resource_kind: kind,
  resource_id: id,
  resource_name: name,
  namespace,
  before_revision: before,
  after_revision: after,
  request_id: by.request_id,
});

/** Keeps an audit entry until it has been projected. Call it inside the mutation's `commit`, and post the "index" letter. */
export function audit(sql: SqlStorage, entry: AuditEntry): void {
  sql.exec("INSERT INTO audit (body) VALUES (?)", JSON.stringify(entry));
}

/** Sends the row and the audit entries that wait, then drops those. For an object's "index" letter. */
export async function project(
  sql: SqlStorage,
  index: DurableObjectNamespace<IndexTarget>,
  row: IndexRow,
  tally?: Record<string, number>,
): Promise<void> {
  const waiting = sql
    .exec<{ seq: number; body: string }>("SELECT seq, body FROM audit ORDER BY seq LIMIT 500")
    .toArray();
  const audits = waiting.map(({ body }) => JSON.parse(body) as AuditEntry);
  await remote(index, shardOf(row.namespace)).project({ row, audits, ...(tally === undefined ? {} : { tally }) });
  const last = waiting.at(-1);
  if (last) sql.exec("DELETE FROM audit WHERE seq <= ?", last.seq);
}

/** The part of IndexObject that `project` needs. */
export type IndexTarget = Rpc.DurableObjectBranded & { project(projection: Projection): void };
