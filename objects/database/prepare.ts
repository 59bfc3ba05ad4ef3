import { toBase64Url } from "../../contract/envelope.ts";
import { seal } from "../sealing.ts";
import { keepersOf, quorumOf } from "./keepers.ts";
import type { DatabaseRecord, Keeping } from "./record.ts";

/** What a database needs before it can be woken: keepers for its log, and what its writers and they know each other by. */
export async function prepare(
  sql: SqlStorage,
  { identity, state, keeping }: DatabaseRecord,
  env: { SECRET_KEYS?: string; KEEPERS?: string; KEEPER_QUORUM?: string },
): Promise<void> {
  if (state.status !== "creating" || keeping !== null) return;
  const keepers = keepersOf(env).map(({ name }) => name);
  const password = toBase64Url(crypto.getRandomValues(new Uint8Array(24)));
  const sealed = await seal(env, password, `database:${identity.id}`);
  if (!sealed.ok) throw new Error(sealed.refusal.detail);
  const kept: Keeping = { keepers, quorum: quorumOf(env, keepers.length) };
  sql.exec(
    "UPDATE database SET keeping = ?, replication_password = ? WHERE keeping IS NULL",
    JSON.stringify(kept),
    sealed.value,
  );
}
