import type { Mutation } from "../../contract/request.ts";
import { project } from "../projection.ts";
import { remote } from "../remote.ts";
import { amendmentOf, creationOf, replacedEntry, replacementOf } from "./claim.ts";
import { namespaceIndexRow, namespaceView } from "./existence.ts";
import { byId, departedRow, resourceIndexRow } from "./resource.ts";

/** Says what is true now about a letter's subject: to the lists, or to a deployment. */
export async function deliver(key: string, sql: SqlStorage, env: Env, namespace: string): Promise<void> {
  if (key.startsWith("index ") || key.startsWith("tell ")) return deliverResource(key, sql, env, namespace);
  const [what, id] = key.split(" ") as ["create" | "replace" | "amend", string];
  const deployment = remote(env.DEPLOYMENT, id);
  switch (what) {
    case "create":
      return create(id, sql, env);
    case "amend": {
      const row = amendmentOf(sql, id);
      if (!row) return;
      await create(id, sql, env);
      await deployment.amend(row.manifest, row.actor, row.request_id);
      sql.exec("DELETE FROM amendment WHERE deployment_id = ? AND manifest = ?", id, row.text);
      return;
    }
    case "replace": {
      const row = replacementOf(sql, id);
      if (!row) return;
      await create(id, sql, env);
      const mutation: Mutation = { actor: row.actor, request_id: row.request_id, if_match: null, idempotency: null };
      await deployment.delete(mutation, [], replacedEntry(row.by_id, row.why));
      sql.exec("DELETE FROM replacement WHERE deployment_id = ?", id);
    }
  }
}

/** Has a deployment made that is yet to be made: what is said to it before that is lost. */
async function create(id: string, sql: SqlStorage, env: Env): Promise<void> {
  const row = creationOf(sql, id);
  if (!row) return;
  await remote(env.DEPLOYMENT, id).create(row.identity, row.actor, row.request_id);
  sql.exec("DELETE FROM creation WHERE deployment_id = ?", id);
}

/** Tells the lists about one resource, or a deployment that something which it waits for may be there. */
async function deliverResource(key: string, sql: SqlStorage, env: Env, namespace: string): Promise<void> {
  const [what, kind, id] = key.split(" ") as [string, string, string];
  if (what === "tell") return remote(env.DEPLOYMENT, kind).referenceChanged();
  const row = kind === "namespace" ? null : byId(sql, id);
  const own = kind === "namespace" ? namespaceView(sql, namespace) : null;
  if (own?.id === id) return project(sql, env.INDEX, namespaceIndexRow(own));
  if (row) return project(sql, env.INDEX, resourceIndexRow(row, namespace));
  const gone = departedRow(sql, id, namespace);
  if (gone === null) return;
  await project(sql, env.INDEX, gone);
  sql.exec("DELETE FROM departed WHERE id = ?", id);
}
