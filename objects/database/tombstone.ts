import { announce, isAnnounced } from "../announce.ts";
import { project } from "../projection.ts";
import { remote } from "../remote.ts";
import { entomb } from "../tombstone.ts";
import { type DatabaseRecord, sourceOf } from "./record.ts";
import { indexRow } from "./view.ts";

const TABLES = ["database", "credential", "scram", "lease", "activity", "reader_role", "reader_connection", "reader"];

/** What others are still to hear of a database of which nothing is left. */
export async function sayTheRest(
  sql: SqlStorage,
  record: DatabaseRecord,
  env: Pick<Env, "INDEX" | "NAMESPACE" | "WEBHOOK">,
): Promise<void> {
  const { identity } = record;
  if (!isAnnounced(sql)) await announce(sql, env, sourceOf(record));
  await remote(env.NAMESPACE, identity.namespace).releaseName("database", identity.name, identity.id);
  await project(sql, env.INDEX, indexRow(sql, record, true));
}

/** Forgets a database of which nothing is left, but for the fact that it was. Call it inside `commit`. */
export const bury = (sql: SqlStorage, now: number): void => entomb(sql, TABLES, now);
