import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { isUsable, type TokenRecord } from "./record.ts";

/** The id of the host that joins with a key, and the uses that are left; null when this key had taken its use before. */
export type Use = { host_id: string; uses_left: number | null };

/** Takes one use of a join token for a public key. Call it inside `commit`. */
export function takeUse(
  sql: SqlStorage,
  token: TokenRecord | null,
  publicKey: string,
  hostId: string,
  now: number,
): Reply<Use> {
  if (!token || !isUsable(token, now) || token.uses_left === null) {
    return refuse("unauthenticated", "This token joins no hosts.");
  }
  const known = sql
    .exec<{ host_id: string }>("SELECT host_id FROM joined WHERE public_key = ?", publicKey)
    .toArray()[0];
  if (known) return accept({ host_id: known.host_id, uses_left: null });
  if (token.uses_left === 0) return refuse("unauthenticated", "This join token has been used up.");
  sql.exec("INSERT INTO joined VALUES (?, ?, ?)", publicKey, hostId, now);
  return accept({ host_id: hostId, uses_left: token.uses_left - 1 });
}
