import { z } from "zod";

/**
 * Every error that the API can answer: its stable code, HTTP status, title, and what the caller can do about it.
 * The status is chosen by who must act next: 4xx the caller, 503 nobody (wait), 500 us.
 * A page per code is served at `/problems/<code>` and printed in `docs/problems.md`.
 */
export const PROBLEMS = {
  malformed_body: {
    status: 400,
    title: "The body is not valid JSON",
    help: "Send valid JSON. The answer names the line and column where reading stopped.",
  },
  malformed_query: {
    status: 400,
    title: "A query parameter is not valid",
    help: "Look at `violations`: each names a parameter and what was expected.",
  },
  unauthenticated: {
    status: 401,
    title: "No valid token",
    help: "Send `Authorization: Bearer lamp_…`. The token may be missing, mistyped, expired or revoked; the answer is the same for all four.",
  },
  invalid_credentials: {
    status: 401,
    title: "Wrong username or password",
    help: "Check both. The answer is the same for a username that does not exist. An administrator can set a new password (`lamplighter user update NAME -p …`).",
  },
  hook_not_verified: {
    status: 401,
    title: "No such hook, or not its secret",
    help: "Check the address, and that the sender signs with the hook's own secret. A hook that does not exist is answered the same way.",
  },
  insufficient_scope: {
    status: 403,
    title: "The token lacks a scope",
    help: "Make a token that has the scope named in `required_scope` (`lamplighter token create --scope …`).",
  },
  namespace_not_permitted: {
    status: 403,
    title: "The token is not for this namespace",
    help: "Use a token whose namespace list has this namespace, or one without a list.",
  },
  not_permitted: {
    status: 403,
    title: "Not permitted",
    help: "Nobody may do this, whatever their token: `detail` says why.",
  },
  not_found: {
    status: 404,
    title: "No such resource",
    help: "Check the id. A resource in a namespace that the token may not see is answered the same way.",
  },
  method_not_allowed: {
    status: 405,
    title: "Method not allowed here",
    help: "The `Allow` header lists the methods that this path knows.",
  },
  action_not_allowed: {
    status: 409,
    title: "Not allowed in the current status",
    help: "`resource_status` and `allowedActions` in the answer say what the resource is and what it would accept now.",
  },
  operation_disabled: {
    status: 409,
    title: "This is not done by hand",
    help: "Connect to the database: the first connection starts it, and after `idle_timeout` without any it is stopped.",
  },
  name_taken: {
    status: 409,
    title: "The name is taken",
    help: "Choose another name, or delete the resource that holds it.",
  },
  last_admin: {
    status: 409,
    title: "The last admin stays",
    help: "Make another user an admin first (`lamplighter user update NAME --role admin`).",
  },
  host_not_empty: {
    status: 409,
    title: "The host still runs workloads",
    help: "Drain it first (`lamplighter host drain ID`), or remove with `force=true` if the machine is gone for good.",
  },
  namespace_not_empty: {
    status: 409,
    title: "The namespace is not empty",
    help: "Delete what is in it first (`remaining` says how much): deployments, schedules, configs and secrets. `lamplighter namespace prune NAME -a` deletes its deployments.",
  },
  still_referenced: {
    status: 409,
    title: "Deployments refer to it",
    help: "`deployments` in the answer lists them. Apply them without it first, or send `force=true`: what runs keeps what it has, and what is started later waits until it is there again.",
  },
  goal_conflict: {
    status: 409,
    title: "Another action is queued",
    help: "One action waits at a time. Withdraw it first (`lamplighter instance cancel-goal NAME`, or DELETE its `desired-state`), then ask again.",
  },
  connection_in_use: {
    status: 409,
    title: "Instances read through this connection",
    help: "`instances` in the answer lists them. Terminate and delete them first; a schema goes out of `schemas` only when no instance reads it.",
  },
  stale_report: {
    status: 409,
    title: "Nobody waits for this report",
    help: "It is of an operation or a generation that is over. What it is about was replaced or withdrawn: stop reporting.",
  },
  request_in_progress: {
    status: 409,
    title: "The same request is still running",
    help: "A request with this Idempotency-Key has not finished. Wait, then send it again.",
  },
  host_removed: {
    status: 410,
    title: "The host was removed",
    help: "This host's enrolment has ended. Join again with a new join token (`lamplighter host join-token`).",
  },
  precondition_failed: {
    status: 412,
    title: "The resource has changed",
    help: "`If-Match` names an older revision. Read the resource again, decide again, and send its new `ETag`.",
  },
  body_too_large: {
    status: 413,
    title: "The body is too large",
    help: "Bodies are limited to 1 MiB (1,048,576 bytes).",
  },
  unsupported_media_type: {
    status: 415,
    title: "The body is not JSON",
    help: "Send `Content-Type: application/json`.",
  },
  validation_failed: {
    status: 422,
    title: "Validation failed",
    help: "Every violation is listed at once, each with its path, what was expected, and a code. Nothing was changed.",
  },
  idempotency_key_reused: {
    status: 422,
    title: "The Idempotency-Key was used for another request",
    help: "Use a new key for a new request. The same key is only for repeating the very same request.",
  },
  too_many_attempts: {
    status: 429,
    title: "Too many attempts to log in",
    help: "Wait for the time in `Retry-After`, then try again. Nothing is locked: it is only slower after each wrong password.",
  },
  secret_key_missing: {
    status: 503,
    title: "Secrets cannot be kept",
    help: "Secrets are sealed with a key that is not set, or not valid. Set the Worker's secret `SECRET_KEYS` to `k1:BASE64`, where BASE64 is `openssl rand -base64 32` (`npx wrangler secret put SECRET_KEYS`); `lamplighter up` makes one by itself.",
  },
  keepers_misconfigured: {
    status: 503,
    title: "Databases cannot be made",
    help: "`KEEPERS` or `KEEPER_QUORUM` of the control plane cannot be read, and a database keeps for good what they say when it is made. `KEEPERS` is `name=https://:TOKEN@host:port#FINGERPRINT` for each keeper, separated by commas, no name and no address twice; `KEEPER_QUORUM` is a number from 1 to as many as there are. With neither set, databases are made without keepers.",
  },
  host_unavailable: {
    status: 503,
    title: "The host does not answer",
    help: "The host that runs this is not connected. Wait for it (`Retry-After`), or look at `lamplighter host list`.",
  },
  overloaded: { status: 503, title: "Too busy", help: "Send the request again after the time in `Retry-After`." },
  internal: {
    status: 500,
    title: "Internal error",
    help: "This is a fault of Lamplighter. Report the `request_id`; the request may be sent again with the same Idempotency-Key.",
  },
} as const satisfies Record<string, { status: number; title: string; help: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** One thing wrong with the input. `property_path` is dotted, with `[i]` for list items; empty means the whole body. */
export const Violation = z.object({
  property_path: z.string(),
  message: z.string(),
  code: z.string(),
  /** Of a text in a language of its own: where in it, both from 1. */
  line: z.int().optional(),
  column: z.int().optional(),
  /** Names that are near to one that nobody knows, best first. */
  nearest: z.array(z.string()).optional(),
});
export type Violation = z.infer<typeof Violation>;

/** The body of every error answer, `application/problem+json` (RFC 9457). */
export const Problem = z.looseObject({
  type: z.string().describe("Address of the page about this code, relative to the API"),
  title: z.string(),
  status: z.int(),
  code: z.string().describe("Stable; switch on this, not on the text"),
  detail: z.string(),
  violations: z.array(Violation),
  request_id: z.string().optional(),
});
export type Problem = z.infer<typeof Problem>;

/** Why something was not done. It is a value: objects answer it over RPC, and never throw it. */
export type Refusal = {
  code: ProblemCode;
  detail: string;
  violations?: Violation[];
  /** Further members of the problem body, e.g. `status` and `allowedActions` of a 409. */
  more?: Record<string, unknown>;
};

export type Reply<T> = { ok: true; value: T } | { ok: false; refusal: Refusal };

export const accept = <T>(value: T): Reply<T> => ({ ok: true, value });
export const refuse = (
  code: ProblemCode,
  detail: string,
  rest: Omit<Refusal, "code" | "detail"> = {},
): Reply<never> => ({
  ok: false,
  refusal: { code, detail, ...rest },
});

/** The body of the answer for a refusal. */
export function problemBody(refusal: Refusal, requestId?: string): Problem {
  const { status, title } = PROBLEMS[refusal.code];
  return {
    ...refusal.more,
    type: `/problems/${refusal.code}`,
    title,
    status,
    code: refusal.code,
    detail: refusal.detail,
    violations: refusal.violations ?? [],
    ...(requestId === undefined ? {} : { request_id: requestId }),
  };
}
