import type { DeploymentIdentity } from "../../contract/deployment.ts";
import type { Entry } from "../../contract/event.ts";
import type { Manifest } from "../../contract/manifest.ts";
import type { Mutation } from "../../contract/request.ts";
import { post } from "../outbox.ts";

/**
 * Which deployment holds which name, and what was decided about deployments that their own objects may not know of yet: each a row and a letter, written
 * in one transaction. Call what writes inside `commit`.
 */

type Asker = Pick<Mutation, "actor" | "request_id">;

export const holderOf = (sql: SqlStorage, name: string): string | null =>
  sql.exec<{ deployment_id: string }>("SELECT deployment_id FROM claim WHERE name = ?", name).toArray()[0]
    ?.deployment_id ?? null;

export function claim(sql: SqlStorage, name: string, deploymentId: string): void {
  sql.exec("INSERT OR REPLACE INTO claim VALUES (?, ?)", name, deploymentId);
}

/** Gives a name up, or over to an heir; a name that somebody else holds by now stays as it is. Answers whether it was given up. */
export function giveUp(sql: SqlStorage, name: string, deploymentId: string, heir: string | null): boolean {
  if (holderOf(sql, name) !== deploymentId) return false;
  if (heir === null) sql.exec("DELETE FROM claim WHERE name = ?", name);
  else claim(sql, name, heir);
  return true;
}

/** A deployment that is to be made. */
export function addCreation(sql: SqlStorage, identity: DeploymentIdentity, asker: Asker, now: number): void {
  sql.exec(
    "INSERT INTO creation VALUES (?, ?, ?, ?)",
    identity.id,
    JSON.stringify(identity),
    asker.actor,
    asker.request_id,
  );
  post(sql, `create ${identity.id}`, now);
}

export function creationOf(sql: SqlStorage, id: string): ({ identity: DeploymentIdentity } & Asker) | null {
  const row = sql
    .exec<{ identity: string } & Asker>("SELECT identity, actor, request_id FROM creation WHERE deployment_id = ?", id)
    .toArray()[0];
  return row ? { ...row, identity: JSON.parse(row.identity) as DeploymentIdentity } : null;
}

/** A deployment that lost its name to a newer one, and is to be deleted. */
export function addReplacement(
  sql: SqlStorage,
  id: string,
  byId: string,
  why: string,
  asker: Asker,
  now: number,
): void {
  sql.exec(
    "INSERT OR REPLACE INTO replacement (deployment_id, by_id, actor, request_id, why) VALUES (?, ?, ?, ?, ?)",
    id,
    byId,
    asker.actor,
    asker.request_id,
    why,
  );
  post(sql, `replace ${id}`, now);
}

export const replacementOf = (sql: SqlStorage, id: string): ({ by_id: string; why: string | null } & Asker) | null =>
  sql
    .exec<{ by_id: string; why: string | null } & Asker>(
      "SELECT by_id, why, actor, request_id FROM replacement WHERE deployment_id = ?",
      id,
    )
    .toArray()[0] ?? null;

/** A deployment whose manifest is to be changed in place. */
export function addAmendment(sql: SqlStorage, id: string, manifest: Manifest, asker: Asker, now: number): void {
  sql.exec(
    "INSERT OR REPLACE INTO amendment VALUES (?, ?, ?, ?)",
    id,
    JSON.stringify(manifest),
    asker.actor,
    asker.request_id,
  );
  post(sql, `amend ${id}`, now);
}

export function amendmentOf(sql: SqlStorage, id: string): ({ manifest: Manifest; text: string } & Asker) | null {
  const row = sql
    .exec<{ text: string } & Asker>(
      "SELECT manifest AS text, actor, request_id FROM amendment WHERE deployment_id = ?",
      id,
    )
    .toArray()[0];
  return row ? { ...row, manifest: JSON.parse(row.text) as Manifest } : null;
}

/** The versions of a name whose update failed, which nobody needs when another is applied. They are taken out. */
export const takeLeftovers = (sql: SqlStorage, name: string): string[] =>
  sql
    .exec<{ deployment_id: string }>("DELETE FROM leftover WHERE name = ? RETURNING deployment_id", name)
    .toArray()
    .map(({ deployment_id }) => deployment_id);

/** Forgets what was still to be told a deployment that is gone. */
export function forget(sql: SqlStorage, id: string): void {
  for (const table of ["creation", "replacement", "amendment", "leftover"])
    sql.exec(`DELETE FROM ${table} WHERE deployment_id = ?`, id);
}

/** What a deployment that is replaced at once notes of it. */
export const replacedEntry = (by: string, why: string | null): Entry => ({
  level: "warning",
  component: "api",
  reason: "force_replace",
  message: `replaced at once by ${by}: ${why ?? "another manifest was applied to its name"}`,
  data: { parent_id: by },
});
