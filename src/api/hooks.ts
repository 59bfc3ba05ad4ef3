import { z } from "zod";
import {
  HOOK_SOURCES,
  HookCreate,
  HookCreated,
  HookDelivery,
  HookView,
  imageTemplateFault,
} from "../../contract/hook.ts";
import { HookId } from "../../contract/id.ts";
import type { Violation } from "../../contract/problem.ts";
import { holds, type Principal } from "../../contract/scope.ts";
import { HOOK_HEADERS, type HookHeaders } from "../../objects/hook/verify.ts";
import { remote } from "../../objects/remote.ts";
import { newSecret } from "../../objects/token/secret.ts";
import { conditional, jsonText, resource } from "../answer.ts";
import { readText } from "../body.ts";
import { idForCreation } from "../creation.ts";
import { HOOK, HOOK_DELIVERY } from "../example.ts";
import { resourcesPage } from "../listing.ts";
import { isMarked, marked } from "../mint.ts";
import { permitNamespace } from "../namespaced.ts";
import { fail, unwrap } from "../problem.ts";
import { limit, several } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { checkBody } from "../violations.ts";

const params = { id: HookId };
const hookStub = (ask: Ask) => () => remote(ask.env.HOOK, ask.params.id as string);

function checkHook(body: unknown): { ok: true; value: HookCreate } | { ok: false; violations: Violation[] } {
  const checked = checkBody(HookCreate, body);
  const message = checked.ok ? imageTemplateFault(checked.value) : null;
  return message === null
    ? checked
    : { ok: false, violations: [{ property_path: "image", message, code: "hook.image.template" }] };
}

function permitHook(body: unknown, principal: Principal): void {
  permitNamespace(body, principal);
  // What a hook does for whoever calls it, its maker must be able to do.
  if (!holds(principal, "deployments:write"))
    fail("insufficient_scope", "A hook applies manifests, so this needs the scope deployments:write as well.", {
      more: { required_scope: "deployments:write" },
    });
}

export const HOOKS = [
  route({
    method: "POST",
    path: "/hooks",
    access: "hooks:write",
    group: "Hooks",
    summary: "Make a hook",
    description:
      "An address for a registry or a Git forge to call. Each push that passes the filters applies the deployment's own manifest again with the new image. The answer is the only one that carries the secret.",
    body: {
      schema: HookCreate,
      permit: permitHook,
      check: checkHook,
      example: {
        namespace: "shop",
        deployment: "web",
        source: "github",
        image: "registry.example.com/shop/web:{short_sha}",
        branches: ["main"],
      },
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Made",
        schema: HookCreated,
        example: {
          ...HOOK,
          url: `https://lamps.example.com${HOOK.path}`,
          secret: "…",
          message: "Keep the secret: it is not shown again.",
        },
        headers: { Location: "Address of the hook" },
      },
    },
    problems: ["namespace_not_permitted", "secret_key_missing"],
    handle: async (ask) => {
      const { secret, image, ...rest } = ask.body;
      const mutation = await ask.mutation();
      const id = await marked(ask.env, await idForCreation(ask.env, "hook", mutation));
      const generated = ask.body.source === "generic" ? `whsec_${drawnKey()}` : newSecret();
      const draft = { config: { ...rest, image: image ?? null }, secret: secret ?? generated };
      const answer = unwrap(
        await call(
          () => remote(ask.env.HOOK, id),
          (hook) => hook.create(draft, mutation),
        ),
      );
      const view = JSON.parse(answer.body) as HookView & { secret: string };
      const url = `${new URL(ask.request.url).origin}${view.path}`;
      const message = "Keep the secret: it is not shown again.";
      return resource(
        { ...answer, body: JSON.stringify({ ...view, url, message }) },
        { location: `${ask.prefix}/hooks/${id}`, "cache-control": "no-store" },
      );
    },
  }),
  route({
    method: "GET",
    path: "/hooks",
    access: "hooks:read",
    group: "Hooks",
    summary: "List hooks",
    query: z.object({
      namespace: several(z.string()),
      deployment: several(z.string()),
      source: several(z.enum(HOOK_SOURCES)),
      limit: limit(1000, 100),
      cursor: HookId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page, newest first",
        schema: z.array(HookView),
        example: [HOOK],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => {
      const { query } = ask;
      return resourcesPage(ask, "hook", { names: query.deployment, types: query.source });
    },
  }),
  route({
    method: "GET",
    path: "/hooks/:id",
    access: "hooks:read",
    group: "Hooks",
    summary: "Read a hook",
    params,
    answers: {
      200: { description: "The hook, without its secret", schema: HookView, example: HOOK },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) =>
      conditional(ask.request, unwrap(await call(hookStub(ask), (hook) => hook.read(ask.principal.namespaces)))),
  }),
  route({
    method: "GET",
    path: "/hooks/:id/deliveries",
    access: "hooks:read",
    group: "Hooks",
    summary: "Calls that a hook has taken",
    description: "Newest first, for seven days, each with what came of it.",
    params,
    query: z.object({ limit: limit(1000, 50) }),
    answers: { 200: { description: "The calls", schema: z.array(HookDelivery), example: [HOOK_DELIVERY] } },
    handle: async (ask) =>
      jsonText(unwrap(await call(hookStub(ask), (hook) => hook.deliveries(ask.principal.namespaces, ask.query.limit)))),
  }),
  route({
    method: "DELETE",
    path: "/hooks/:id",
    access: "hooks:write",
    group: "Hooks",
    summary: "Delete a hook",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Deleted, now or before" } },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      return resource(unwrap(await call(hookStub(ask), (hook) => hook.delete(mutation, ask.principal.namespaces))));
    },
  }),
  route({
    method: "POST",
    path: "/hooks/:id",
    access: "open",
    group: "Hooks",
    summary: "Tell of a push",
    description:
      "For the registry or forge. Verified by its own signature: `X-Hub-Signature-256` (GitHub), `X-Gitlab-Token`, `X-Gitea-Signature`, `Authorization: Bearer <secret>` or `?secret=` (registries), Standard Webhooks (generic). Each delivery is carried out once: again, by its id or with the same body, it is answered with what came of it.",
    params: { id: z.string() },
    query: z.object({ secret: z.string().max(300).optional().describe("For registries that can send no header") }),
    answers: { 200: { description: "What came of it", schema: HookDelivery, example: HOOK_DELIVERY } },
    problems: ["hook_not_verified", "body_too_large", "malformed_body", "secret_key_missing"],
    handle: async (ask) => {
      const body = await readText(ask.request);
      const id = ask.params.id as string;
      // What was made up wakes no object, and is answered like a wrong signature.
      if (!HookId.safeParse(id).success || !(await isMarked(ask.env, id)))
        fail("hook_not_verified", "There is no such hook, or the call is not signed with its secret.");
      const headers: HookHeaders = {};
      for (const name of HOOK_HEADERS) {
        const value = ask.request.headers.get(name);
        if (value !== null) headers[name] = value;
      }
      const given = ask.query.secret ?? null;
      return jsonText(
        JSON.stringify(unwrap(await call(hookStub(ask), (hook) => hook.receive({ headers, body, given })))),
      );
    },
  }),
];

const drawnKey = (): string => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
