import { accept, type Reply, refuse } from "../contract/problem.ts";
import { type Answer, IDEMPOTENCY_KEPT_MS, type Mutation } from "../contract/request.ts";
import { setTimer } from "./alarm.ts";

/**
 * Runs a mutation at most once per Idempotency-Key: the same request again gets the stored answer, byte for byte; another request with
 * the same key is refused. Refusals are not stored, so that a caller may try again when the status allows. Call it inside `commit`.
 */
export function once<A extends Answer>(
  sql: SqlStorage,
  mutation: Mutation,
  now: number,
  work: () => Reply<A>,
): Reply<A> {
  if (mutation.idempotency === null) return work();
  const { key, fingerprint } = mutation.idempotency;
  forgetRequests(sql, now);
  const kept = sql
    .exec<{ fingerprint: string; answer: string }>("SELECT fingerprint, answer FROM request WHERE key = ?", key)
    .toArray()[0];
  if (kept && kept.fingerprint !== fingerprint) {
    return refuse(
      "idempotency_key_reused",
      `Idempotency-Key "${key}" was used for another request in the last 24 hours.`,
    );
  }
  if (kept) return accept(JSON.parse(kept.answer) as A);
  const reply = work();
  if (reply.ok)
    sql.exec(
      "INSERT INTO request VALUES (?, ?, ?, ?)",
      key,
      fingerprint,
      JSON.stringify(reply.value),
      now + IDEMPOTENCY_KEPT_MS,
    );
  return reply;
}

/**
 * The same where answers have sealed secrets in them: they go when their time is over, and not with the next request only. The object hears
 * its timer "requests", and calls `forgetRequests`.
 */
export function onceTimed<A extends Answer>(
  sql: SqlStorage,
  mutation: Mutation,
  now: number,
  work: () => Reply<A>,
): Reply<A> {
  const reply = once(sql, mutation, now, work);
  if (mutation.idempotency) setTimer(sql, "requests", now + IDEMPOTENCY_KEPT_MS);
  return reply;
}

/** Drops the answers whose time is over. */
export function forgetRequests(sql: SqlStorage, now: number): void {
  sql.exec("DELETE FROM request WHERE expires_at <= ?", now);
}

/** Forgets what a request was answered: the same request again is carried out again. */
export function forgetRequest(sql: SqlStorage, { idempotency }: Mutation): void {
  if (idempotency) sql.exec("DELETE FROM request WHERE key = ?", idempotency.key);
}

/** The refusal of a mutation that was made against an older revision, or null. */
export function stale(mutation: Mutation, revision: number): Reply<never> | null {
  return mutation.if_match === null || mutation.if_match === revision
    ? null
    : refuse("precondition_failed", `If-Match names revision ${mutation.if_match}, the resource is at ${revision}.`, {
        more: { revision },
      });
}
