import { newId } from "../contract/id.ts";
import type { Reply } from "../contract/problem.ts";
import type { Answer, Mutation } from "../contract/request.ts";
import { SHOWN_ONCE, type TokenView } from "../contract/token.ts";
import { ROLE_SCOPES, SESSION_IDLE_MS } from "../contract/user.ts";
import { remote } from "../objects/remote.ts";
import type { TokenDraft } from "../objects/token/record.ts";
import { sha256Hex } from "../objects/token/secret.ts";
import type { Opened } from "../objects/user/record.ts";
import { bearerOf } from "./access.ts";
import { etag, jsonText } from "./answer.ts";
import { mintSecret } from "./mint.ts";
import { fail, unwrap } from "./problem.ts";
import type { Ask } from "./route.ts";
import { sealSecret, unsealSecret } from "./sealed-secret.ts";
import { call } from "./stub.ts";
import { userDirectory } from "./user-directory.ts";

/** Makes a token and answers it with its secret: the only time that it is shown, but for the same request sent again. */
export async function createToken(
  ask: Ask,
  draft: Omit<TokenDraft, "hash" | "sealed" | "kind" | "user_id" | "idle_ms">,
): Promise<Response> {
  const mutation = await ask.mutation();
  const { user_id = null } = ask.principal;
  const id = await tokenIdFor(ask, mutation);
  // Before it exists: there is no moment at which it is a user's and would outlive what the user may do.
  if (user_id !== null) unwrap(await call(userDirectory(ask.env), (users) => users.own(user_id, id, draft)));
  const answer = await withNewSecret(ask, id, mutation, ({ hash, sealed }) =>
    call(
      () => remote(ask.env.TOKEN, id),
      (token) => token.create({ ...draft, kind: "access", user_id, idle_ms: null, hash, sealed }, mutation),
    ),
  );
  answer.headers.set("location", `${ask.prefix}/tokens/${id}`);
  return answer;
}

/** With an Idempotency-Key, the caller's own object remembers the id, so that the same request finds the same token. */
async function tokenIdFor(ask: Ask, { idempotency }: Mutation): Promise<string> {
  if (idempotency === null) return newId("token", Date.now());
  const { key, fingerprint } = idempotency;
  return unwrap(
    await call(
      () => remote(ask.env.TOKEN, ask.principal.token_id),
      (token) => token.claim(key, fingerprint),
    ),
  );
}

/** Makes a session of a user's: a token that ends by itself, and is in no list. */
export async function openSession(env: Env, opened: Opened, requestId: string): Promise<string> {
  const { token_id, user, expires_at } = opened;
  const secret = await mintSecret(env, token_id);
  const draft: TokenDraft = {
    name: "session",
    hash: await sha256Hex(secret),
    sealed: null,
    scopes: [...ROLE_SCOPES[user.role]],
    namespaces: [],
    labels: {},
    expires_at,
    uses_left: null,
    kind: "session",
    user_id: user.id,
    idle_ms: SESSION_IDLE_MS,
  };
  const mutation = { actor: user.id, request_id: requestId, if_match: null, idempotency: null };
  unwrap(
    await call(
      () => remote(env.TOKEN, token_id),
      (token) => token.create(draft, mutation),
    ),
  );
  return `lamp_${token_id.slice("tok_".length)}_${secret}`;
}

/** Draws a secret, has it set, and answers it; or, when the request was carried out before, the secret that was set then. */
export async function withNewSecret(
  ask: Ask,
  id: string,
  { idempotency }: Mutation,
  set: (drawn: { hash: string; sealed: string | null }) => Promise<Reply<Answer>>,
): Promise<Response> {
  const drawn = await mintSecret(ask.env, id);
  const bearer = bearerOf(ask.request);
  const ours = idempotency && (await sealSecret(drawn, bearer, idempotency.key));
  const answer = unwrap(await set({ hash: await sha256Hex(drawn), sealed: ours }));
  const { sealed = null, ...view } = JSON.parse(answer.body) as TokenView & { sealed?: string };
  const secret =
    sealed === ours || idempotency === null || sealed === null
      ? drawn
      : await unsealSecret(sealed, bearer, idempotency.key);
  if (secret === null) {
    fail(
      "idempotency_key_reused",
      `${view.id} was made by this request before your own token's secret changed, so its secret cannot be shown again: rotate it.`,
    );
  }
  const token = `lamp_${view.id.slice("tok_".length)}_${secret}`;
  return jsonText(
    JSON.stringify({ ...view, token, message: SHOWN_ONCE }),
    { etag: etag(answer.revision), "cache-control": "no-store" },
    201,
  );
}
