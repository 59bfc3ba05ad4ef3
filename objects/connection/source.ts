import type { Source } from "../../contract/connection.ts";
import { READER_ROLE, type SourceNeed } from "../../contract/database-reader.ts";
import { accept, type Reply, refuse, type Violation } from "../../contract/problem.ts";
import type { Readable } from "../database/source.ts";
import { remote } from "../remote.ts";
import type { ConnectionRecord } from "./record.ts";

/** The source that a connection leads to: one whose address its user has said, or a managed database, which is woken to be read. */

type Led = Pick<ConnectionRecord, "identity" | "spec" | "password">;

/** Of a managed database; null when its address was given. */
export const managedBy = ({ identity, spec }: Pick<Led, "identity" | "spec">): string | null =>
  spec.host === null ? identity.database_id : null;

/** Less than what a letter may take, ms. */
const AWAKE_WITHIN_MS = 20_000;

/** As programs are given it: its password stays sealed. A managed database is woken for the need, and refused when it is not awake in time. */
export async function sourceFor(record: Led, holder: string, need: SourceNeed, env: Env): Promise<Reply<Source>> {
  const { kind, host, port, user, database, tls, ca, min_sync_interval } = record.spec;
  const databaseId = managedBy(record);
  if (databaseId === null) {
    if (host === null || port === null || user === null) return refuse("not_found", "The connection leads nowhere.");
    return accept({
      address: { kind, host, port, user, database, tls, ca },
      password: record.password,
      standing: null,
      min_sync_interval,
    });
  }
  const reply = await remote(env.DATABASE, databaseId).asSource({ do: "read", holder, need, wait_ms: AWAKE_WITHIN_MS });
  if (!reply.ok) return { ok: false, refusal: { ...reply.refusal } };
  const { database: name, password, standing } = reply.value as Readable;
  if (standing.at === null) return refuse("action_not_allowed", "The database sleeps.");
  const address = { kind, ...standing.at, user: READER_ROLE, database: name, tls, ca };
  return accept({ address, password, standing: { ...standing, at: { ...standing.at } }, min_sync_interval });
}

/** Makes the connection known to the managed database, if it leads to one. */
export async function attachToDatabase(
  { identity, spec }: Pick<Led, "identity" | "spec">,
  env: Env,
): Promise<Reply<null>> {
  const databaseId = managedBy({ identity, spec });
  if (databaseId === null) return accept(null);
  const { id: connection_id, namespace } = identity;
  const reply = await remote(env.DATABASE, databaseId).asSource({ do: "attach", connection_id, namespace });
  if (reply.ok) return accept(null);
  if (reply.refusal.code !== "not_found") return { ok: false, refusal: { ...reply.refusal } };
  const violation: Violation = {
    property_path: "database_id",
    message: `there is none in ${namespace}`,
    code: "connection.database_id.not_found",
  };
  return refuse("validation_failed", `database_id: there is no database ${databaseId} in ${namespace}.`, {
    violations: [violation],
  });
}

export async function detachFromDatabase(record: Pick<Led, "identity" | "spec">, env: Env): Promise<void> {
  const databaseId = managedBy(record);
  if (databaseId === null) return;
  await remote(env.DATABASE, databaseId).asSource({ do: "detach", connection_id: record.identity.id });
}

/** What somebody needs of a managed database from now on; null: nothing. */
export async function tellNeed(
  databaseId: string | null,
  holder: string,
  need: SourceNeed | null,
  env: Env,
): Promise<void> {
  if (databaseId !== null) await remote(env.DATABASE, databaseId).asSource({ do: "want", holder, need });
}
