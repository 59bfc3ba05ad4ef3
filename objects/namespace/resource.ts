import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { post } from "../outbox.ts";
import { audit, type By, entryOf, type IndexRow } from "../projection.ts";
import { stale } from "../request.ts";
import { type Config, configView } from "./config.ts";
import { type Secret, secretView } from "./secret.ts";
import { type Volume, volumeView } from "./volume.ts";

/** The table of configs, secrets and volumes: what is the same for all three. What each holds and shows is in the file of its name. */
export type ResourceKind = "config" | "secret" | "volume";
export type Content = { config: Config; secret: Secret; volume: Volume };

export type ResourceRow<K extends ResourceKind = ResourceKind> = {
  id: string;
  kind: K;
  name: string;
  content: Content[K];
  created_at: number;
  updated_at: number | null;
  revision: number;
};

/** In which namespace, when, and who asked for it. */
export type Head = { namespace: string; now: number; by: By };

type Stored = Omit<ResourceRow, "content"> & { content: string };

const COLUMNS = "id, kind, name, content, created_at, updated_at, revision";
const parsed = (row: Stored | undefined): ResourceRow | null =>
  row ? { ...row, content: JSON.parse(row.content) as ResourceRow["content"] } : null;

export const byId = (sql: SqlStorage, id: string): ResourceRow | null =>
  parsed(sql.exec<Stored>(`SELECT ${COLUMNS} FROM resource WHERE id = ?`, id).toArray()[0]);

export const byName = <K extends ResourceKind>(sql: SqlStorage, kind: K, name: string): ResourceRow<K> | null =>
  parsed(
    sql.exec<Stored>(`SELECT ${COLUMNS} FROM resource WHERE kind = ? AND name = ?`, kind, name).toArray()[0],
  ) as ResourceRow<K> | null;

export const isThere = (sql: SqlStorage, kind: ResourceKind, name: string): boolean =>
  sql.exec("SELECT 1 FROM resource WHERE kind = ? AND name = ?", kind, name).toArray().length > 0;

/** As the API answers it. */
export function resourceView(row: ResourceRow, namespace: string): object {
  const head = {
    id: row.id,
    created_at: timestamp(row.created_at),
    updated_at: timestamp(row.updated_at),
    namespace,
    name: row.name,
    revision: row.revision,
  };
  if (row.kind === "config") return configView(head, row.content as Config);
  return row.kind === "secret" ? secretView(head) : volumeView(head, row.content as Volume);
}

const answer = (row: ResourceRow, namespace: string, status: 200 | 201): Reply<Answer> =>
  accept({ status, body: JSON.stringify(resourceView(row, namespace)), revision: row.revision });

export const read = (sql: SqlStorage, kind: ResourceKind, id: string, namespace: string): Reply<Answer> => {
  const row = byId(sql, id);
  return row?.kind === kind ? answer(row, namespace, 200) : unknown(kind, id);
};

/** Call these inside `commit` and `once`. */
export function insert<K extends ResourceKind>(
  sql: SqlStorage,
  { id, kind, name, content }: Pick<ResourceRow<K>, "id" | "kind" | "name" | "content">,
  head: Head,
): Reply<Answer> {
  if (isThere(sql, kind, name))
    return refuse("name_taken", `A ${kind} named '${name}' already exists in namespace '${head.namespace}'.`);
  const row: ResourceRow = { id, kind, name, content, created_at: head.now, updated_at: null, revision: 1 };
  sql.exec(
    `INSERT INTO resource (${COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL, 1)`,
    id,
    kind,
    name,
    JSON.stringify(content),
    head.now,
  );
  changed(sql, row, "create", head, null);
  return answer(row, head.namespace, 201);
}

export function update<K extends ResourceKind>(
  sql: SqlStorage,
  { id, kind, content }: Pick<ResourceRow<K>, "id" | "kind" | "content">,
  mutation: Mutation,
  head: Head,
): Reply<Answer> {
  const before = byId(sql, id);
  if (before?.kind !== kind) return unknown(kind, id);
  const refusal = stale(mutation, before.revision);
  if (refusal) return refusal;
  // The same again is no new revision: what was given the old one has the present one.
  if (JSON.stringify(content) === JSON.stringify(before.content)) return answer(before, head.namespace, 200);
  const row: ResourceRow = { ...before, content, updated_at: head.now, revision: before.revision + 1 };
  sql.exec(
    "UPDATE resource SET content = ?, updated_at = ?, revision = ? WHERE id = ?",
    JSON.stringify(content),
    head.now,
    row.revision,
    id,
  );
  changed(sql, row, "update", head, before.revision);
  return answer(row, head.namespace, 200);
}

/** @param refuseReferenced whether it stays when deployments refer to it */
export function remove(
  sql: SqlStorage,
  kind: ResourceKind,
  id: string,
  refuseReferenced: boolean,
  mutation: Mutation,
  head: Head,
): Reply<Answer> {
  const row = byId(sql, id);
  if (row?.kind !== kind) return unknown(kind, id);
  const refusal = stale(mutation, row.revision);
  if (refusal) return refusal;
  const deployments = refuseReferenced ? referring(sql, kind, row.name, head.namespace) : [];
  if (deployments.length > 0)
    return refuse("still_referenced", `The ${kind} '${row.name}' is referred to by ${deployments.join(", ")}.`, {
      more: {
        deployments,
        hint: "apply the deployments without it first, or delete with force=true",
      },
    });
  depart(sql, id, head);
  return accept({ status: 204, body: "", revision: row.revision + 1 });
}

/** Takes a row out, and leaves word for the lists. */
export function depart(sql: SqlStorage, id: string, head: Head): void {
  const row = byId(sql, id);
  if (row === null) return;
  sql.exec("DELETE FROM resource WHERE id = ?", id);
  sql.exec("INSERT OR REPLACE INTO departed VALUES (?, ?, ?, ?)", id, row.kind, row.name, row.revision);
  post(sql, `index ${row.kind} ${id}`, head.now);
  auditChange(sql, row, "delete", head, row.revision, row.revision + 1);
}

/** `namespace/name` of the deployments whose manifests name it. */
function referring(sql: SqlStorage, kind: ResourceKind, name: string, namespace: string): string[] {
  return sql
    .exec<{ deployment_name: string }>(
      "SELECT DISTINCT deployment_name FROM reference WHERE kind = ? AND name = ? ORDER BY deployment_name",
      kind,
      name,
    )
    .toArray()
    .map(({ deployment_name }) => `${namespace}/${deployment_name}`);
}

/** The lists, the trail, and who waits for it hear of it. */
function changed(sql: SqlStorage, row: ResourceRow, action: "create" | "update", head: Head, before: number | null) {
  post(sql, `index ${row.kind} ${row.id}`, head.now);
  auditChange(sql, row, action, head, before, row.revision);
  const waiting = sql
    .exec<{ deployment_id: string }>(
      "DELETE FROM awaited WHERE kind = ? AND name = ? RETURNING deployment_id",
      row.kind,
      row.name,
    )
    .toArray();
  for (const { deployment_id } of waiting) post(sql, `tell ${deployment_id}`, head.now);
}

export function auditChange(
  sql: SqlStorage,
  { kind, id, name }: { kind: IndexRow["kind"]; id: string; name: string },
  action: string,
  { namespace, now, by }: Head,
  before: number | null,
  after: number,
): void {
  audit(sql, entryOf({ kind, id, name, namespace }, action, by, now, before, after));
}

/** What the lists are told of something that has gone; null once they have been. */
export function departedRow(sql: SqlStorage, id: string, namespace: string): IndexRow | null {
  const row = sql
    .exec<{ kind: IndexRow["kind"]; name: string; revision: number }>(
      "SELECT kind, name, revision FROM departed WHERE id = ?",
      id,
    )
    .toArray()[0];
  if (row === undefined) return null;
  const { kind, name, revision } = row;
  const version = revision + 1;
  return { kind, id, namespace, name, status: "", type: "", labels: {}, passing: false, version, body: null };
}

export const resourceIndexRow = (row: ResourceRow, namespace: string): IndexRow => ({
  kind: row.kind,
  id: row.id,
  namespace,
  name: row.name,
  status: "",
  type: "",
  labels: row.kind === "volume" ? (row.content as Volume).labels : {},
  passing: false,
  version: row.revision,
  body: JSON.stringify(resourceView(row, namespace)),
});

export const unknown = (kind: ResourceKind, id: string): Reply<never> =>
  refuse("not_found", `There is no ${kind} ${id}.`);
