import { ID_PREFIX, type IdKind, newId } from "../contract/id.ts";
import type { Mutation } from "../contract/request.ts";
import { remote } from "../objects/remote.ts";
import { unwrap } from "./problem.ts";
import { call } from "./stub.ts";

/**
 * The id of what a request creates in an object of its own. With an Idempotency-Key, the caller's own object remembers what it drew, so
 * that the same request finds the same object.
 */
export async function idForCreation(env: Env, kind: IdKind, { idempotency, actor }: Mutation): Promise<string> {
  if (idempotency === null) return newId(kind, Date.now());
  const { key, fingerprint } = idempotency;
  const claimed = unwrap(
    await call(
      () => remote(env.TOKEN, actor),
      (token) => token.claim(key, fingerprint),
    ),
  );
  // It is drawn as a token's: what follows the prefix is as good for any kind, and is drawn for this request alone.
  return ID_PREFIX[kind] + claimed.slice(ID_PREFIX.token.length);
}
