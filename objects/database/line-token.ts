import { holds } from "../../contract/scope.ts";
import { TOKEN_PATTERN } from "../../contract/token.ts";
import { remote } from "../remote.ts";
import { sameHash, sha256Hex } from "../token/secret.ts";

/** By which token a line was opened: its id, and the hash of its secret. */
export type LineToken = { id: string; hash: string };

/** A line outlives the request that opened it, and perhaps the token; so that is looked at again this often. */
export const TOKEN_LOOK_MS = 30_000;
const KEPT_MOST = 1_000;

/** Until when a token is believed, by its hash: one gateway has a line to each of a thousand databases. */
const believed = new Map<string, number>();

/** Null for the root token, which has no object and ends with its control plane. */
export async function lineTokenOf(request: Request, env: Env): Promise<LineToken | null> {
  const bearer = (request.headers.get("authorization") ?? "").replace(/^Bearer +/i, "");
  if (env.ROOT_TOKEN_HASH && sameHash(await sha256Hex(bearer), env.ROOT_TOKEN_HASH.toLowerCase())) return null;
  const [, id, secret] = TOKEN_PATTERN.exec(bearer) ?? [];
  return id === undefined || secret === undefined ? null : { id: `tok_${id}`, hash: await sha256Hex(secret) };
}

/** Whether it has been revoked or rotated, or has expired. An object that does not answer says nothing. */
export async function isOver(env: Env, { id, hash }: LineToken, now: number): Promise<boolean> {
  const until = believed.get(hash) ?? 0;
  if (until > now && until <= now + TOKEN_LOOK_MS) return false;
  const verified = await remote(env.TOKEN, id)
    .verify(hash)
    .catch(() => undefined);
  if (verified === undefined) return false;
  believed.delete(hash);
  if (verified === null || !holds(verified.principal, "databases:connect")) return true;
  for (const oldest of believed.keys()) {
    if (believed.size < KEPT_MOST) break;
    believed.delete(oldest);
  }
  believed.set(hash, Math.min(now + TOKEN_LOOK_MS, verified.expires_at ?? Number.POSITIVE_INFINITY));
  return false;
}
