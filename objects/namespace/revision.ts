import type { Manifest } from "../../contract/manifest.ts";
import { REVISIONS_KEPT, type RevisionView } from "../../contract/rollout.ts";
import { timestamp } from "../../contract/timestamp.ts";

/** The revisions of a name: every manifest that was applied to it, numbered from 1, the last REVISIONS_KEPT kept. */
export type Revision = {
  number: number;
  deployment_id: string;
  manifest: string;
  created_at: number;
  actor: string;
  cause: string;
  outcome: string;
  message: string;
};

/** The number of the newest revision; 0 before the first. */
const newestNumber = (sql: SqlStorage, name: string): number =>
  sql.exec<{ number: number | null }>("SELECT max(number) AS number FROM revision WHERE name = ?", name).one().number ??
  0;

/** Adds a revision, and drops the oldest. Answers its number. Call it inside `commit`. */
export function addRevision(
  sql: SqlStorage,
  name: string,
  revision: Omit<Revision, "number" | "message" | "manifest"> & { manifest: Manifest },
): number {
  const number = newestNumber(sql, name) + 1;
  sql.exec(
    "INSERT INTO revision VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')",
    name,
    number,
    revision.deployment_id,
    JSON.stringify(revision.manifest),
    revision.created_at,
    revision.actor,
    revision.cause,
    revision.outcome,
  );
  sql.exec("DELETE FROM revision WHERE name = ? AND number <= ?", name, number - REVISIONS_KEPT);
  return number;
}

/** Notes what came of a deployment's update. */
export function settleRevision(
  sql: SqlStorage,
  name: string,
  deploymentId: string,
  outcome: string,
  message: string,
): void {
  sql.exec(
    "UPDATE revision SET outcome = ?1, message = ?2 WHERE name = ?3 AND number = (SELECT max(number) FROM revision WHERE name = ?3 AND deployment_id = ?4)",
    outcome,
    message,
    name,
    deploymentId,
  );
}

export const revisionsOf = (sql: SqlStorage, name: string): Revision[] =>
  sql
    .exec<Revision>(
      "SELECT number, deployment_id, manifest, created_at, actor, cause, outcome, message FROM revision WHERE name = ? ORDER BY number DESC",
      name,
    )
    .toArray();

const FAILED: ReadonlySet<string> = new Set(["failed", "rolled_back", "superseded"]);

/**
 * The revision to go back to: the one that was asked for, or the newest before the one that holds the name that did not fail.
 * @param holder the deployment that holds the name
 */
export function revisionToGoBackTo(
  revisions: readonly Revision[],
  holder: string | null,
  to: number | null,
): Revision | null {
  if (to !== null) return revisions.find(({ number }) => number === to) ?? null;
  const present = revisions.find(({ deployment_id }) => deployment_id === holder);
  return revisions.find(({ number, outcome }) => number < (present?.number ?? 0) && !FAILED.has(outcome)) ?? null;
}

export function revisionView(revision: Revision, holder: string | null, newest: boolean): RevisionView {
  const manifest = JSON.parse(revision.manifest) as Manifest;
  return {
    revision: revision.number,
    deployment_id: revision.deployment_id,
    created_at: timestamp(revision.created_at),
    actor: revision.actor,
    cause: revision.cause,
    outcome: revision.outcome,
    message: revision.message,
    active: newest && revision.deployment_id === holder,
    manifest: withoutPassword(manifest),
  };
}

export const withoutPassword = (manifest: Manifest): Manifest =>
  manifest.config?.password == null ? manifest : { ...manifest, config: { ...manifest.config, password: null } };
