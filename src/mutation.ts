import type { Mutation } from "../contract/request.ts";
import { sha256Hex } from "../objects/token/secret.ts";
import { bearerOf } from "./access.ts";
import { fail } from "./problem.ts";

/** What a mutation's headers say, for the object that makes it. */
export async function mutationOf(input: {
  request: Request;
  /** Path and query without the version prefix: `/x` and `/v1/x` are the same request. */
  target: string;
  text: string;
  actor: string;
  requestId: string;
}): Promise<Mutation> {
  const { request, target, text, actor, requestId } = input;
  const key = idempotencyKey(request);
  return {
    actor,
    request_id: requestId,
    if_match: ifMatch(request),
    idempotency: key === null ? null : { key, fingerprint: await fingerprintOf(request, actor, target, text) },
  };
}

/**
 * What the object keeps for a day to tell whether it is the same request. Bodies hold secrets, some of them short: mixed with the bearer token, which
 * is kept nowhere, nobody who reads the storage can guess them by it.
 */
const fingerprintOf = (request: Request, actor: string, target: string, text: string): Promise<string> =>
  sha256Hex([bearerOf(request), actor, request.method, target, text].join("\n"));

function idempotencyKey(request: Request): string | null {
  const key = request.headers.get("idempotency-key");
  if (key !== null && !/^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(key)) {
    const message = "expected 1 to 255 printable ASCII characters";
    fail("validation_failed", `Idempotency-Key: ${message}`, {
      violations: [{ property_path: "Idempotency-Key", message, code: "header.idempotency_key.invalid" }],
    });
  }
  return key;
}

/** An entity tag that is not one of ours can match nothing. */
function ifMatch(request: Request): number | null {
  const text = request.headers.get("if-match")?.trim();
  if (text === undefined || text === "*") return null;
  const revision = /^"r(\d{1,15})"$/.exec(text)?.[1];
  if (revision === undefined)
    fail("precondition_failed", 'If-Match must be one ETag as this API answers it, such as "r12".');
  return Number(revision);
}

const LONGEST_WAIT_S = 60;

/** Seconds from `Prefer: wait=N`, at most a minute; null without it. */
export function preferredWait(request: Request): number | null {
  const prefer = request.headers.get("prefer");
  if (prefer === null) return null;
  const seconds = /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])/i.exec(prefer)?.[1];
  return seconds === undefined ? null : Math.min(Number(seconds), LONGEST_WAIT_S);
}
