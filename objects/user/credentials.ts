import { post } from "../outbox.ts";

/** What ends with a user, or with the user's role: sessions, and tokens that were made with them. */
export type Credential = { token_id: string; user_id: string; session: boolean; expires_at: number | null };

const KEPT_AFTER_END_MS = 86_400_000;

/** Call it before the token exists: a letter that ends it may then come first, but never too late. */
export function own(sql: SqlStorage, { token_id, user_id, session, expires_at }: Credential, now: number): void {
  sql.exec("DELETE FROM credential WHERE ending = 0 AND expires_at <= ?", now - KEPT_AFTER_END_MS);
  sql.exec(
    "INSERT INTO credential (token_id, user_id, session, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT (token_id) DO NOTHING",
    token_id,
    user_id,
    Number(session),
    expires_at,
  );
}

/** Ends what a user has: all of it, or only the sessions, but for one. Call it inside `commit`. */
export function endAll(
  sql: SqlStorage,
  userId: string,
  which: { sessionsOnly: boolean; but: string | null },
  now: number,
): void {
  const ending = sql
    .exec<{ token_id: string }>(
      "UPDATE credential SET ending = 1 WHERE user_id = ? AND (session = 1 OR ? = 0) AND token_id IS NOT ? RETURNING token_id",
      userId,
      Number(which.sessionsOnly),
      which.but,
    )
    .toArray();
  for (const { token_id } of ending) post(sql, `end ${token_id}`, now);
}

export const isEnding = (sql: SqlStorage, tokenId: string): boolean =>
  sql.exec("SELECT 1 FROM credential WHERE token_id = ? AND ending = 1", tokenId).toArray().length > 0;

export function drop(sql: SqlStorage, tokenId: string): void {
  sql.exec("DELETE FROM credential WHERE token_id = ?", tokenId);
}
