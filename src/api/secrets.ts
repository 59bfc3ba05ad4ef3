import { z } from "zod";
import { SecretId } from "../../contract/id.ts";
import {
  SecretCreate,
  SecretUpdate,
  SecretView,
  secretUpdateViolations,
  secretViolations,
} from "../../contract/secret.ts";
import { conditional, resource } from "../answer.ts";
import { SECRET } from "../example.ts";
import { resourcesPage } from "../listing.ts";
import { checkedBy, inNamespace, namespaceOf, permitNamespace } from "../namespaced.ts";
import { unwrap } from "../problem.ts";
import { flag, limit, several } from "../query.ts";
import { route } from "../route.ts";

const params = { id: SecretId };

export const SECRETS = [
  route({
    method: "POST",
    path: "/secrets",
    access: "secrets:write",
    group: "Secrets",
    summary: "Make a secret",
    description:
      "The value is sealed before it is stored, and never answered. What refers to it (`{secretRef}` in an environment, a volume of type `secret`, `config.image_pull_secret`) and waits for it, goes on. The namespace has to be there.",
    body: {
      schema: SecretCreate,
      permit: permitNamespace,
      check: checkedBy(SecretCreate, secretViolations),
      example: { namespace: "shop", name: "db-password", value: "…" },
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Made",
        schema: SecretView,
        example: SECRET,
        headers: { Location: "Address of the secret" },
      },
    },
    problems: ["namespace_not_permitted", "name_taken", "not_found", "secret_key_missing"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const answer = unwrap(
        await inNamespace(ask.env, ask.body.namespace, (namespace) => namespace.createSecret(ask.body, mutation)),
      );
      return resource(answer, { location: `${ask.prefix}/secrets/${(JSON.parse(answer.body) as SecretView).id}` });
    },
  }),
  route({
    method: "GET",
    path: "/secrets",
    access: "secrets:read",
    group: "Secrets",
    summary: "List secrets",
    description: "Newest first, without their values. Filters of one kind are alternatives.",
    query: z.object({
      namespace: several(z.string()),
      name: several(z.string()),
      limit: limit(1000, 1000),
      cursor: SecretId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(SecretView),
        example: [SECRET],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: (ask) => resourcesPage(ask, "secret", { names: ask.query.name }),
  }),
  route({
    method: "GET",
    path: "/secrets/:id",
    access: "secrets:read",
    group: "Secrets",
    summary: "Read a secret",
    description: "Everything about it but its value.",
    params,
    answers: {
      200: { description: "The secret", schema: SecretView, example: SECRET },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) => {
      const id = ask.params.id as string;
      const namespace = await namespaceOf(ask, "secret");
      return conditional(
        ask.request,
        unwrap(await inNamespace(ask.env, namespace, (object) => object.readResource("secret", id))),
      );
    },
  }),
  route({
    method: "PUT",
    path: "/secrets/:id",
    access: "secrets:write",
    group: "Secrets",
    summary: "Put a secret's value anew",
    description:
      "What runs keeps the value that it was started with; what is started later gets the new one. Applying the manifest again, though it is the same, replaces what runs.",
    params,
    body: {
      schema: SecretUpdate,
      check: checkedBy(SecretUpdate, secretUpdateViolations),
      example: { value: "…" },
    },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "As it is now", schema: SecretView, example: SECRET } },
    problems: ["secret_key_missing"],
    handle: async (ask) => {
      const id = ask.params.id as string;
      const mutation = await ask.mutation();
      const namespace = await namespaceOf(ask, "secret");
      return resource(
        unwrap(await inNamespace(ask.env, namespace, (object) => object.updateSecret(id, ask.body.value, mutation))),
      );
    },
  }),
  route({
    method: "DELETE",
    path: "/secrets/:id",
    access: "secrets:write",
    group: "Secrets",
    summary: "Delete a secret",
    description: "What runs keeps its value; what is started later waits until it is there again.",
    params,
    query: z.object({
      force: flag.optional().describe("`false`: refused while deployments refer to it. Otherwise it is deleted"),
    }),
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Deleted" } },
    problems: ["still_referenced"],
    handle: async (ask) => {
      const id = ask.params.id as string;
      const mutation = await ask.mutation();
      const careful = ask.query.force === false;
      const namespace = await namespaceOf(ask, "secret");
      return resource(
        unwrap(
          await inNamespace(ask.env, namespace, (object) => object.deleteResource("secret", id, careful, mutation)),
        ),
      );
    },
  }),
];
