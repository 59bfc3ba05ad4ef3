import { newId } from "../../contract/id.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { IDEMPOTENCY_KEPT_MS } from "../../contract/request.ts";

/** The id of the token that is being created under an Idempotency-Key: drawn the first time, the same for the same request after that. */
export function claim(sql: SqlStorage, key: string, fingerprint: string, now: number): Reply<string> {
  prune(sql, now);
  const kept = sql
    .exec<{ fingerprint: string; token_id: string }>("SELECT fingerprint, token_id FROM creation WHERE key = ?", key)
    .toArray()[0];
  if (kept?.fingerprint === fingerprint) return accept(kept.token_id);
  if (kept)
    return refuse(
      "idempotency_key_reused",
      `Idempotency-Key "${key}" was used for another request in the last 24 hours.`,
    );
  const id = newId("token", now);
  sql.exec("INSERT INTO creation VALUES (?, ?, ?, ?)", key, fingerprint, id, now);
  return accept(id);
}

export function prune(sql: SqlStorage, now: number): void {
  sql.exec("DELETE FROM creation WHERE at <= ?", now - IDEMPOTENCY_KEPT_MS);
}
