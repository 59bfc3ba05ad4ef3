import { DEFAULT_NAMESPACE, type NamespaceView } from "../../contract/namespace.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { namespacedId } from "../namespaced-id.ts";
import { post } from "../outbox.ts";
import type { IndexRow } from "../projection.ts";
import { once } from "../request.ts";
import { auditChange, depart, type Head } from "./resource.ts";

/** The namespace as a resource of its own: it never changes, so its revision is always 1. */
type Row = { id: string; created_at: number };

const row = (sql: SqlStorage): Row | null => sql.exec<Row>("SELECT id, created_at FROM namespace").toArray()[0] ?? null;

/** One whose deployments are older than this table exists without a row in it. */
export const exists = (sql: SqlStorage, name: string): boolean =>
  name === DEFAULT_NAMESPACE || row(sql) !== null || sql.exec("SELECT 1 FROM claim LIMIT 1").toArray().length > 0;

/** Makes the row if there is none. Call it inside `commit`. */
export function ensure(sql: SqlStorage, { namespace, now, by }: Head): void {
  if (row(sql) !== null) return;
  const id = namespacedId("namespace", namespace, now);
  sql.exec("INSERT INTO namespace VALUES (1, ?, ?)", id, now);
  post(sql, `index namespace ${id}`, now);
  auditChange(sql, { kind: "namespace", id, name: namespace }, "create", { namespace, now, by }, null, 1);
}

export function namespaceView(sql: SqlStorage, name: string): NamespaceView | null {
  const known = row(sql);
  return known && { id: known.id, created_at: timestamp(known.created_at), updated_at: "", name, revision: 1 };
}

export function createNamespace(sql: SqlStorage, name: string, mutation: Mutation, now: number): Reply<Answer> {
  return once(sql, mutation, now, () => {
    const taken = exists(sql, name);
    ensure(sql, { namespace: name, now, by: mutation });
    return taken
      ? refuse("name_taken", `The namespace '${name}' is there already.`)
      : accept({ status: 201, body: JSON.stringify(namespaceView(sql, name)), revision: 1 });
  });
}

/** Ends the namespace, unless something is in it. Volumes do not count, as in Ring: their entries go with it, their data stays on the hosts. */
export function deleteNamespace(sql: SqlStorage, name: string, mutation: Mutation, now: number): Reply<Answer> {
  return once(sql, mutation, now, () => {
    if (name === DEFAULT_NAMESPACE) return refuse("action_not_allowed", `The namespace '${name}' is always there.`);
    if (!exists(sql, name)) return unknownNamespace(name);
    const remaining = sql
      .exec<{ n: number }>(
        "SELECT (SELECT count(*) FROM claim) + (SELECT count(*) FROM name_claim) + (SELECT count(*) FROM resource WHERE kind <> 'volume') AS n",
      )
      .one().n;
    if (remaining > 0)
      return refuse(
        "namespace_not_empty",
        `${remaining} ${remaining === 1 ? "thing is" : "things are"} in '${name}'.`,
        {
          more: {
            remaining,
            hint: "delete its deployments, schedules, databases, instances, connections, configs and secrets first",
          },
        },
      );
    const head: Head = { namespace: name, now, by: mutation };
    for (const { id } of sql.exec<{ id: string }>("SELECT id FROM resource").toArray()) depart(sql, id, head);
    const known = row(sql);
    if (known) {
      sql.exec("DELETE FROM namespace");
      sql.exec("INSERT OR REPLACE INTO departed VALUES (?, 'namespace', ?, 1)", known.id, name);
      post(sql, `index namespace ${known.id}`, now);
      auditChange(sql, { kind: "namespace", id: known.id, name }, "delete", head, 1, 2);
    }
    return accept({ status: 204, body: "", revision: 2 });
  });
}

export const unknownNamespace = (name: string): Reply<never> =>
  refuse("not_found", `The namespace '${name}' does not exist.`);

/** Secrets and volumes are only put where there is a namespace; configs, as in Ring, bring theirs about. */
export const missingNamespace = (name: string): Reply<never> =>
  refuse("not_found", `namespace '${name}' does not exist; make it with \`lamplighter namespace create ${name}\``);

/** A manifest may bring its namespace about, if whoever applies it may make namespaces. */
export const mayNotCreate = (name: string): Reply<never> =>
  refuse(
    "insufficient_scope",
    `The namespace '${name}' does not exist, and this token may not make it: that needs the scope namespaces:write, or a token for this very namespace.`,
    { more: { required_scope: "namespaces:write" } },
  );

export const namespaceIndexRow = (view: NamespaceView): IndexRow => ({
  kind: "namespace",
  id: view.id,
  namespace: view.name,
  name: view.name,
  status: "",
  type: "",
  labels: {},
  passing: false,
  version: 1,
  body: JSON.stringify(view),
});
