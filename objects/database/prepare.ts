import { toBase64Url } from "../../contract/envelope.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import { seal } from "../sealing.ts";
import { type KeeperSettings, keepingOf } from "./keepers.ts";
import type { DatabaseRecord } from "./record.ts";

/** What a database needs before it can be woken: keepers for its log, and what its writers and they know each other by. */
export async function prepare(
  sql: SqlStorage,
  { identity, keeping }: DatabaseRecord,
  env: { SECRET_KEYS?: string } & KeeperSettings,
): Promise<Reply<null>> {
  if (keeping !== null) return accept(null);
  const chosen = keepingOf(env);
  if (!chosen.ok) return chosen;
  const password = toBase64Url(crypto.getRandomValues(new Uint8Array(24)));
  const sealed = await seal(env, password, `database:${identity.id}`);
  if (!sealed.ok) return sealed;
  sql.exec(
    "UPDATE database SET keeping = ?, replication_password = ? WHERE keeping IS NULL",
    JSON.stringify(chosen.value),
    sealed.value,
  );
  return accept(null);
}
