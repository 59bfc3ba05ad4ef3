/**
 * What every mutation carries from the Worker to the object that makes it, on every kind of resource.
 */
export type Mutation = {
  /** The id of the token that asked; of a session, its user's. */
  actor: string;
  request_id: string;
  /** From `If-Match`: refused with `precondition_failed` unless the resource has this revision. */
  if_match: number | null;
  /** From `Idempotency-Key`; the fingerprint (SHA-256, hex) is of actor, method, path and body. Kept for IDEMPOTENCY_KEPT_MS. */
  idempotency: { key: string; fingerprint: string } | null;
};

/** How long the answer of a request with an Idempotency-Key is kept, ms: a day, as Stripe does. */
export const IDEMPOTENCY_KEPT_MS = 86_400_000;

/** An answer as the API sends it: the body is JSON text, made once in the object and never parsed again on its way out. */
export type Answer = {
  status: 200 | 201 | 202 | 204;
  body: string;
  revision: number;
};

/** One page of a list, newest first. `rows` are JSON texts; `next` is the cursor of the next page. */
export type Page = { rows: string[]; next: string | null };
