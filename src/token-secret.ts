import { newId } from "../contract/id.ts";
import type { Reply } from "../contract/problem.ts";
import type { Answer, Mutation } from "../contract/request.ts";
import type { TokenView } from "../contract/token.ts";
import { remote } from "../objects/remote.ts";
import type { TokenDraft } from "../objects/token/record.ts";
import { sha256Hex } from "../objects/token/secret.ts";
import { bearerOf } from "./access.ts";
import { etag, jsonText } from "./answer.ts";
import { mintSecret } from "./mint.ts";
import { fail, unwrap } from "./problem.ts";
import type { Ask } from "./route.ts";
import { sealSecret, unsealSecret } from "./sealed-secret.ts";
import { call } from "./stub.ts";

/** Makes a token and answers it with its secret: the only time that it is shown, but for the same request sent again. */
export async function createToken(ask: Ask, draft: Omit<TokenDraft, "hash" | "sealed">): Promise<Response> {
  const mutation = await ask.mutation();
  const id = await tokenIdFor(ask, mutation);
  const answer = await withNewSecret(ask, id, mutation, ({ hash, sealed }) =>
    call(
      () => remote(ask.env.TOKEN, id),
      (token) => token.create({ ...draft, hash, sealed }, mutation),
    ),
  );
  answer.headers.set("location", `${ask.prefix}/tokens/${id}`);
  return answer;
}

/** With an Idempotency-Key, the caller's own object remembers the id, so that the same request finds the same token. */
async function tokenIdFor(ask: Ask, { idempotency, actor }: Mutation): Promise<string> {
  if (idempotency === null) return newId("token", Date.now());
  const { key, fingerprint } = idempotency;
  return unwrap(
    await call(
      () => remote(ask.env.TOKEN, actor),
      (token) => token.claim(key, fingerprint),
    ),
  );
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
    JSON.stringify({ ...view, token }),
    { etag: etag(answer.revision), "cache-control": "no-store" },
    201,
  );
}
