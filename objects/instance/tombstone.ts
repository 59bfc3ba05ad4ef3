import { announce, isAnnounced } from "../announce.ts";
import type { ConnectionObject } from "../connection/object.ts";
import { tellNeed } from "../connection/source.ts";
import { cursor } from "../journal.ts";
import { project } from "../projection.ts";
import { remote } from "../remote.ts";
import { entomb } from "../tombstone.ts";
import { withdrawAll } from "./deliver.ts";
import type { InstanceRecord } from "./kept.ts";
import { indexRow, sourceOf } from "./record.ts";

const TABLES = [
  ...["instance", "vitals", "build", "build_log", "engine_log", "artifact", "key_secret", "api_key", "source_standing"],
  ...["route", "route_leaving"],
];

/** What others are still to hear of an instance that was deleted. */
export async function sayTheRest(sql: SqlStorage, record: InstanceRecord, env: Env): Promise<void> {
  const { id, namespace, name, connection_id, database_id } = record.identity;
  await withdrawAll(record, { env, sql });
  await tellNeed(database_id, id, null, env);
  await remote<ConnectionObject>(env.CONNECTION, connection_id).detach(id);
  await remote(env.NAMESPACE, namespace).releaseName("instance", name, id);
  await project(sql, env.INDEX, indexRow(record, cursor(sql)));
  if (!isAnnounced(sql)) await announce(sql, env, sourceOf(record.identity, record.spec.labels));
}

/** Forgets an instance that was deleted, but for the answers to its requests. Call it inside `commit`. */
export const bury = (sql: SqlStorage, now: number): void => entomb(sql, TABLES, now);
