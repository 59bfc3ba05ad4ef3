import type { Principal } from "../contract/scope.ts";
import { TOKEN_PATTERN } from "../contract/token.ts";
import { remote } from "../objects/remote.ts";
import { sameHash, sha256Hex } from "../objects/token/secret.ts";
import { isMintedSecret } from "./mint.ts";
import { fail } from "./problem.ts";
import { call } from "./stub.ts";

/**
 * Who is asking. A verified token is believed for KEPT_MS in the isolate that verified it, so that the usual request costs no call to a
 * TokenObject. Revoking and rotating take effect at once in the isolate that does it, and within KEPT_MS everywhere else; an expiry is kept
 * to the millisecond. Only the isolate's memory holds what was presented, and only while it is believed.
 */
export const KEPT_MS = 5_000;
const KEPT_AT_MOST = 10_000;

type Kept = { principal: Principal; until: number };

const kept = new Map<string, Kept>();
/** Rises with each forgotten token: what was being verified meanwhile is not kept. */
let forgotten = 0;

/** The principal of the request's bearer token. Whatever is wrong with the token, the answer is the same. */
export async function authenticate(request: Request, env: Env, ctx: ExecutionContext): Promise<Principal> {
  const bearer = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (bearer === undefined) unauthenticated();
  const now = Date.now();
  const known = kept.get(bearer);
  if (known && known.until > now) return known.principal;
  kept.delete(bearer);
  const before = forgotten;
  const verified = await verify(bearer, env, ctx);
  if (verified === null) unauthenticated();
  if (before === forgotten)
    keep(bearer, {
      principal: verified.principal,
      until: Math.min(now + KEPT_MS, verified.expires_at ?? Number.POSITIVE_INFINITY),
    });
  return verified.principal;
}

/** The bearer text itself, for what is encrypted under it. */
export const bearerOf = (request: Request): string =>
  (request.headers.get("authorization") ?? "").replace(/^Bearer +/i, "");

/** Stops believing a token at once; called when it is revoked or rotated. */
export const forget = (tokenId: string): void => forgetWhere((principal) => principal.token_id === tokenId);

/** Stops believing everything of a user's at once; called when what the user may do has changed. */
export const forgetUser = (userId: string): void => forgetWhere((principal) => principal.user_id === userId);

function forgetWhere(ended: (principal: Principal) => boolean): void {
  forgotten++;
  for (const [bearer, { principal }] of kept) if (ended(principal)) kept.delete(bearer);
}

export function unauthenticated(): never {
  return fail("unauthenticated", "Send a valid token as `Authorization: Bearer lamp_…`.");
}

export const ROOT: Principal = { token_id: "root", name: "root", scopes: ["admin"], namespaces: [] };

async function verify(
  bearer: string,
  env: Env,
  ctx: ExecutionContext,
): Promise<{ principal: Principal; expires_at: number | null } | null> {
  if (env.ROOT_TOKEN_HASH && sameHash(await sha256Hex(bearer), env.ROOT_TOKEN_HASH.toLowerCase()))
    return { principal: ROOT, expires_at: null };
  const [, id, secret] = TOKEN_PATTERN.exec(bearer) ?? [];
  if (id === undefined || secret === undefined) return null;
  if (!(await isMintedSecret(env, `tok_${id}`, secret))) return null;
  const hash = await sha256Hex(secret);
  const stub = () => remote(env.TOKEN, `tok_${id}`);
  const verified = await call(stub, (token) => token.verify(hash));
  // Writing the moment of use is not waited for.
  if (verified?.stale_use) ctx.waitUntil(call(stub, (token) => token.touch()));
  return verified;
}

/** The oldest go first; a Map remembers the order of insertion. */
function keep(bearer: string, entry: Kept): void {
  for (const oldest of kept.keys()) {
    if (kept.size < KEPT_AT_MOST) break;
    kept.delete(oldest);
  }
  kept.set(bearer, entry);
}
