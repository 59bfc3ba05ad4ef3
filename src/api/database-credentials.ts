import { z } from "zod";
import { CredentialView } from "../../contract/database.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import { bearerOf } from "../access.ts";
import { etag, jsonText, resource } from "../answer.ts";
import { credentialsFor, drawPassword, dsnOf, roleOf, scramFor } from "../database-password.ts";
import { fail, unwrap } from "../problem.ts";
import { type Ask, route } from "../route.ts";
import { sealSecret, unsealSecret } from "../sealed-secret.ts";
import { call } from "../stub.ts";
import { databaseStub, params } from "./database-stub.ts";

/** With a password in it: shown once. */
export const Shown = z.object({
  role: z.string(),
  password: z.string(),
  dsn: z.string().describe("`<gateway>` stands for an address that is not known here"),
});

const CredentialCreated = CredentialView.extend(Shown.shape);
const CREDENTIAL = {
  id: "cred_01k9j6b2v8n4r0t6w3x7z5a1c9",
  created_at: "2026-11-21T09:31:00.000Z",
  current: true,
  installed: true,
};

/** Draws a password for a database, has it set, and answers it; or, when the request was carried out before, the one that was set then. */
export async function withNewPassword(
  ask: Ask,
  id: string,
  name: string,
  { idempotency }: Mutation,
  set: (drawn: {
    scram: Awaited<ReturnType<typeof scramFor>>;
    credentials: Awaited<ReturnType<typeof credentialsFor>>;
    sealed: string | null;
  }) => Promise<Answer>,
): Promise<{ view: Record<string, unknown>; answer: Answer; shown: z.infer<typeof Shown> }> {
  const password = drawPassword();
  const bearer = bearerOf(ask.request);
  const scram = await scramFor(ask.env, roleOf(id));
  const ours = idempotency && (await sealSecret(password, bearer, idempotency.key));
  const answer = await set({ scram, credentials: await credentialsFor(password, scram, Date.now()), sealed: ours });
  const { sealed = null, ...view } = JSON.parse(answer.body) as { sealed?: string | null };
  const isOurs = sealed === ours || idempotency === null || sealed === null;
  const valid = isOurs ? password : await unsealSecret(sealed, bearer, idempotency.key);
  if (valid === null)
    fail(
      "idempotency_key_reused",
      "This request was carried out before your own token's secret changed, so its password cannot be shown again: rotate it.",
    );
  const role = roleOf(id);
  return {
    view,
    answer,
    shown: { role, password: valid, dsn: dsnOf(ask.env, role, name, valid) },
  };
}

export const DATABASE_CREDENTIALS = [
  route({
    method: "GET",
    path: "/databases/:id/credentials",
    access: "databases:read",
    group: "Databases",
    summary: "Which passwords are valid",
    description: "Newest first; the passwords themselves are stored nowhere.",
    params,
    answers: {
      200: { description: "One, or two after a rotation", schema: z.array(CredentialView), example: [CREDENTIAL] },
    },
    handle: async (ask) => {
      const reply = await call(databaseStub(ask), (database) => database.credentials(ask.principal.namespaces));
      return jsonText(unwrap(reply));
    },
  }),
  route({
    method: "POST",
    path: "/databases/:id/credentials",
    access: "databases:write",
    group: "Databases",
    summary: "Rotate the password",
    description:
      "Makes another password. The one before it stays valid until the next rotation, or until it is retired; older ones end. Nobody's connection is cut.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: {
      201: {
        description: "The only answer that carries the password",
        schema: CredentialCreated,
        example: {
          ...CREDENTIAL,
          role: "u_01k9…",
          password: "…",
          dsn: "postgres://u_01k9…:…@<gateway>/shop",
        },
      },
    },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const id = ask.params.id as string;
      const { namespaces } = ask.principal;
      const known = JSON.parse(unwrap(await call(databaseStub(ask), (database) => database.read(namespaces))).body);
      const { name } = known as { name: string };
      const { view, answer, shown } = await withNewPassword(ask, id, name, mutation, async ({ credentials, sealed }) =>
        unwrap(await call(databaseStub(ask), (database) => database.rotate(credentials, sealed, mutation, namespaces))),
      );
      const headers = { etag: etag(answer.revision), "cache-control": "no-store" };
      return jsonText(JSON.stringify({ ...view, ...shown }), headers, 201);
    },
  }),
  route({
    method: "DELETE",
    path: "/databases/:id/credentials/:credential",
    access: "databases:write",
    group: "Databases",
    summary: "Retire the password of before the last rotation",
    params: { ...params, credential: z.string().regex(/^cred_[0-9a-z]{26}$/) },
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "It is not valid any more" } },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const credential = ask.params.credential as string;
      const { namespaces } = ask.principal;
      return resource(
        unwrap(await call(databaseStub(ask), (database) => database.retire(credential, mutation, namespaces))),
      );
    },
  }),
];
