import type { CredentialView } from "../../contract/database.ts";
import type { DatabaseState } from "../../contract/database-state.ts";
import { newId } from "../../contract/id.ts";
import { type Reply, refuse } from "../../contract/problem.ts";
import {
  type Bridge,
  bridge,
  type Credentials,
  rolpassword,
  VERIFIERS_MOST,
  type Verifier,
} from "../../contract/scram.ts";
import { timestamp } from "../../contract/timestamp.ts";

/**
 * The passwords of a database's role, as verifiers: nothing here can log in anywhere. The newest is the one that PostgreSQL is to have; the one
 * before it leads there by its bridge. Call what writes inside `commit`.
 */
export type Credential = { verifier: Verifier; bridge: Bridge | null; created_at: number };
export type Scram = { salt: string; iterations: number };

type Row = { id: string; verifier: string; bridge: string | null; created_at: number };

export const newCredentialId = (now: number): string => newId("credential", now);

/** Newest first. */
export const credentialsOf = (sql: SqlStorage): Credential[] =>
  sql
    .exec<Row>("SELECT id, verifier, bridge, created_at FROM credential ORDER BY created_at DESC, id DESC")
    .toArray()
    .map((row) => ({
      verifier: JSON.parse(row.verifier) as Verifier,
      bridge: row.bridge === null ? null : (JSON.parse(row.bridge) as Bridge),
      created_at: row.created_at,
    }));

export const scramOf = (sql: SqlStorage): Scram =>
  sql.exec<Scram>("SELECT salt, iterations FROM scram").toArray()[0] ?? { salt: "", iterations: 0 };

export function setScram(sql: SqlStorage, { salt, iterations }: Scram): void {
  sql.exec("INSERT INTO scram VALUES (1, ?, ?)", salt, iterations);
}

export const newestId = (sql: SqlStorage): string =>
  sql.exec<{ id: string }>("SELECT id FROM credential ORDER BY created_at DESC, id DESC LIMIT 1").toArray()[0]?.id ??
  "";

/** What PostgreSQL is to store for the owner. */
export function ownerVerifier(sql: SqlStorage): { credential: string; verifier: string } {
  const [newest] = credentialsOf(sql);
  if (newest === undefined) throw new Error("there is no credential");
  const { salt, iterations } = scramOf(sql);
  return { credential: newest.verifier.id, verifier: rolpassword(newest.verifier, salt, iterations) };
}

/** The bridge from the newest so far to one that is to take its place; it can only be made while the new password is known. */
export const bridgeTo = (from: Credential, to: Credentials): Promise<Bridge> => bridge(from.verifier, to);

/** Puts another one first. Of the older ones the newest stays valid, by the bridge. */
export function addCredential(sql: SqlStorage, verifier: Verifier, bridged: Bridge | null, now: number): void {
  const previous = newestId(sql);
  // Not before the last one, whatever the clock says: the order is which of them is valid for how long.
  const last = sql.exec<{ at: number | null }>("SELECT max(created_at) AS at FROM credential").one().at ?? 0;
  sql.exec(
    "INSERT INTO credential VALUES (?, ?, NULL, ?)",
    verifier.id,
    JSON.stringify(verifier),
    Math.max(now, last + 1),
  );
  if (bridged !== null) sql.exec("UPDATE credential SET bridge = ? WHERE id = ?", JSON.stringify(bridged), previous);
  sql.exec(
    "DELETE FROM credential WHERE id NOT IN (SELECT id FROM credential ORDER BY created_at DESC LIMIT ?)",
    VERIFIERS_MOST,
  );
}

/** Ends one that was left valid by a rotation; a refusal when it was not. */
export function retireCredential(sql: SqlStorage, id: string, resource_status: string): Reply<never> | null {
  const all = credentialsOf(sql);
  if (!all.some(({ verifier }) => verifier.id === id)) return refuse("not_found", `There is no credential ${id}.`);
  if (all[0]?.verifier.id === id)
    return refuse("action_not_allowed", "This is the current password; rotate first.", { more: { resource_status } });
  sql.exec("DELETE FROM credential WHERE id = ?", id);
  return null;
}

/** A refusal while PostgreSQL does not have the newest yet, or when there is another than `current` meanwhile. */
export function unsettled(sql: SqlStorage, state: DatabaseState, current: string | undefined): Reply<never> | null {
  const newest = newestId(sql);
  if (newest === current && (state.status !== "ready" || state.installed === newest)) return null;
  return refuse("action_not_allowed", "The last rotation has not reached PostgreSQL yet; try again in a moment.", {
    more: { resource_status: state.status, retry_after: 1 },
  });
}

export const credentialViews = (sql: SqlStorage, installed: string | null): CredentialView[] =>
  credentialsOf(sql).map(({ verifier: { id }, created_at }, i) => ({
    id,
    created_at: timestamp(created_at),
    current: i === 0,
    installed: id === installed,
  }));
