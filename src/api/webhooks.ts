import { z } from "zod";
import { WebhookId } from "../../contract/id.ts";
import type { Violation } from "../../contract/problem.ts";
import { parseDuration } from "../../contract/quantity.ts";
import { type Principal, permits } from "../../contract/scope.ts";
import { eventFilterFault } from "../../contract/webhook.ts";
import {
  WebhookCreate,
  WebhookCreated,
  WebhookPatch,
  WebhookRotate,
  WebhookStatus,
  WebhookView,
} from "../../contract/webhook-endpoint.ts";
import { remote } from "../../objects/remote.ts";
import { covers } from "../../objects/token/reach.ts";
import type { WebhookConfig } from "../../objects/webhook/record.ts";
import { targetFault } from "../../objects/webhook/target.ts";
import { wayOut } from "../../objects/webhook/way.ts";
import { conditional, resource } from "../answer.ts";
import { idForCreation } from "../creation.ts";
import { WEBHOOK } from "../example.ts";
import { coveredRows, pageAnswer } from "../listing.ts";
import { foreignNamespace } from "../namespaced.ts";
import { fail, unwrap } from "../problem.ts";
import { limit, several } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { checkBody, refuseBody } from "../violations.ts";

export const params = { id: WebhookId };
export const webhookStub = (ask: Ask) => () => remote(ask.env.WEBHOOK, ask.params.id as string);

const LONGEST_OVERLAP_MS = 7 * 86_400_000;
const CODES: Record<string, string> = {
  url: "webhook.url.format",
  events: "webhook.events.unknown",
  secret: "webhook.secret.format",
};

type Filtered = { events?: string[] | null | undefined };

/** A check of the body by its schema, and of what no schema can say, under the codes that Ring has for it. */
const checked =
  <T extends Filtered>(schema: z.ZodType<T>) =>
  (body: unknown): { ok: true; value: T } | { ok: false; violations: Violation[] } => {
    const result = checkBody(schema, body);
    const events = (body as Filtered | null)?.events;
    const violations: Violation[] = result.ok
      ? []
      : result.violations.map((v) =>
          v.code === "unknown_field" || v.code === "required"
            ? v
            : { ...v, code: CODES[v.property_path.split("[")[0] ?? ""] ?? v.code },
        );
    if (Array.isArray(events))
      events.forEach((filter, i) => {
        const message = typeof filter === "string" ? eventFilterFault(filter) : null;
        if (message !== null)
          violations.push({ property_path: `events[${i}]`, message, code: "webhook.events.unknown" });
      });
    return violations.length === 0 ? result : { ok: false, violations };
  };

/** The address, by what this control plane permits. */
function permitTarget(env: Env, url: string | undefined): void {
  const message = url === undefined ? null : targetFault(url, wayOut(env).allowance);
  if (message !== null) refuseBody([{ property_path: "url", message, code: "webhook.url.format" }]);
}

/** Nobody is told of more than they may see. */
function permitNamespaces(namespaces: string[] | undefined, principal: Principal): void {
  if (namespaces === undefined) return;
  const foreign = namespaces.find((namespace) => !permits(principal, namespace));
  if (foreign !== undefined) foreignNamespace(foreign);
  if (!covers(principal, namespaces))
    fail(
      "namespace_not_permitted",
      "This token is for some namespaces only, so its webhooks must be too: name `namespaces`.",
    );
}

function overlapOf(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null && ms <= LONGEST_OVERLAP_MS) return ms;
  const message = 'expected a duration up to 7d such as "24h"';
  return refuseBody([{ property_path: "overlap", message, code: "webhook.overlap.format" }]);
}

/** `whsec_` and 64 hex digits: a text for Ring's signature, and base64 of 48 bytes for that of Standard Webhooks. */
function drawSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return `whsec_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

const CREATED_EXAMPLE = { ...WEBHOOK, secret: "whsec_…", message: "Keep the secret: it is not shown again." };

export const WEBHOOKS = [
  route({
    method: "POST",
    path: "/webhooks",
    access: "webhooks:write",
    group: "Webhooks",
    summary: "Make a webhook",
    description:
      "Events are POSTed to `url`, each resource's in order, signed as Standard Webhooks has it. What happens after this is answered is told; what happened before is not. The answer is the only one that carries the secret (but for the same request again with the same Idempotency-Key).",
    body: {
      schema: WebhookCreate,
      check: checked(WebhookCreate),
      example: { url: "https://ci.example.com/hooks/lamplighter", events: ["deployment.*"], namespaces: ["shop"] },
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Made",
        schema: WebhookCreated,
        example: CREATED_EXAMPLE,
        headers: { Location: "Address of the webhook" },
      },
    },
    problems: ["namespace_not_permitted", "secret_key_missing"],
    handle: async (ask) => {
      permitNamespaces(ask.body.namespaces, ask.principal);
      permitTarget(ask.env, ask.body.url);
      const { secret, events, ring_headers, ...rest } = ask.body;
      const config: WebhookConfig = {
        ...rest,
        events: [...new Set(events ?? [])],
        namespaces: [...new Set(rest.namespaces)],
        ring_headers: ring_headers ?? rest.format === "ring",
      };
      const mutation = await ask.mutation();
      const id = await idForCreation(ask.env, "webhook", mutation);
      const draft = { config, secret: secret ?? drawSecret() };
      const answer = unwrap(
        await call(
          () => remote(ask.env.WEBHOOK, id),
          (webhook) => webhook.create(draft, mutation),
        ),
      );
      return resource(answer, { location: `${ask.prefix}/webhooks/${id}`, "cache-control": "no-store" });
    },
  }),
  route({
    method: "GET",
    path: "/webhooks",
    access: "webhooks:read",
    group: "Webhooks",
    summary: "List webhooks",
    description:
      "Newest first, disabled and revoked ones included. A token for some namespaces sees those that tell of no others.",
    query: z.object({
      status: several(WebhookStatus),
      limit: limit(1000, 1000),
      cursor: WebhookId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(WebhookView),
        example: [WEBHOOK],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => pageAnswer(ask, await coveredRows(ask.env, "webhook", ask.principal, ask.query)),
  }),
  route({
    method: "GET",
    path: "/webhooks/:id",
    access: "webhooks:read",
    group: "Webhooks",
    summary: "Read a webhook",
    params,
    answers: {
      200: { description: "The webhook, without its secret", schema: WebhookView, example: WEBHOOK },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) =>
      conditional(ask.request, unwrap(await call(webhookStub(ask), (webhook) => webhook.read(ask.principal)))),
  }),
  route({
    method: "PATCH",
    path: "/webhooks/:id",
    access: "webhooks:write",
    group: "Webhooks",
    summary: "Change a webhook",
    description:
      "What is left out stays. `status` enables or disables it: a disabled one takes no new events, and goes on with those that wait when it is enabled.",
    params,
    body: {
      schema: WebhookPatch,
      check: checked(WebhookPatch),
      example: { events: ["deployment.error"], status: "active" },
    },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "As it is now", schema: WebhookView, example: WEBHOOK } },
    problems: ["namespace_not_permitted", "action_not_allowed"],
    handle: async (ask) => {
      permitNamespaces(ask.body.namespaces, ask.principal);
      permitTarget(ask.env, ask.body.url);
      const { status = null, ...rest } = ask.body;
      const change = Object.fromEntries(
        Object.entries(rest).filter(([, value]) => value !== undefined),
      ) as Partial<WebhookConfig>;
      const mutation = await ask.mutation();
      return resource(
        unwrap(await call(webhookStub(ask), (webhook) => webhook.update(change, status, mutation, ask.principal))),
      );
    },
  }),
  route({
    method: "DELETE",
    path: "/webhooks/:id",
    access: "webhooks:write",
    group: "Webhooks",
    summary: "Revoke a webhook",
    description: "Nothing more is sent, what waits included. It stays listed as `revoked` for a week.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Revoked, now or before" } },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      return resource(unwrap(await call(webhookStub(ask), (webhook) => webhook.revoke(mutation, ask.principal))));
    },
  }),
  route({
    method: "POST",
    path: "/webhooks/:id/rotate-secret",
    access: "webhooks:write",
    group: "Webhooks",
    summary: "Give a webhook a new secret",
    description:
      "For `overlap` the old secret signs as well: `webhook-signature` then carries a signature of each. The answer carries the new secret.",
    params,
    body: { schema: WebhookRotate, check: (body) => checkBody(WebhookRotate, body), example: { overlap: "24h" } },
    mutation: ["idempotency", "if-match"],
    answers: { 201: { description: "Rotated", schema: WebhookCreated, example: CREATED_EXAMPLE } },
    problems: ["action_not_allowed", "secret_key_missing"],
    handle: async (ask) => {
      const overlap = overlapOf(ask.body.overlap);
      const secret = ask.body.secret ?? drawSecret();
      const mutation = await ask.mutation();
      const answer = unwrap(
        await call(webhookStub(ask), (webhook) => webhook.rotate(secret, overlap, mutation, ask.principal)),
      );
      return resource(answer, { "cache-control": "no-store" });
    },
  }),
];
