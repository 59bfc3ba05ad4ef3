import { z } from "zod";
import { JournalEvent } from "../../contract/event.ts";
import {
  DELIVERY_STATUSES,
  WebhookAttempt,
  WebhookDelivery,
  WebhookRedeliver,
} from "../../contract/webhook-endpoint.ts";
import type { Which } from "../../objects/webhook/queue.ts";
import { jsonText, resource } from "../answer.ts";
import { journalStream, startOf, wantsStream } from "../event-stream.ts";
import { WEBHOOK_ATTEMPT, WEBHOOK_DELIVERY } from "../example.ts";
import { unwrap } from "../problem.ts";
import { limit } from "../query.ts";
import { route } from "../route.ts";
import { call } from "../stub.ts";
import { checkBody } from "../violations.ts";
import { EventQuery } from "./deployment-events.ts";
import { params, webhookStub } from "./webhooks.ts";

const EventId = z.string().max(200).describe("Only of this event");

export const WEBHOOK_DELIVERIES = [
  route({
    method: "GET",
    path: "/webhooks/:id/events",
    access: "webhooks:read",
    group: "Webhooks",
    summary: "Events of a webhook's queue",
    description: "Newest first: what waits, what was delivered and what was given up, for seven days.",
    params,
    query: z.object({
      limit: limit(1000, 50),
      status: z.enum(DELIVERY_STATUSES).optional(),
      event_id: EventId.optional(),
    }),
    answers: { 200: { description: "The events", schema: z.array(WebhookDelivery), example: [WEBHOOK_DELIVERY] } },
    handle: async (ask) => {
      const { limit, status = null, event_id = null } = ask.query;
      return jsonText(
        unwrap(await call(webhookStub(ask), (webhook) => webhook.deliveries(ask.principal, limit, status, event_id))),
      );
    },
  }),
  route({
    method: "GET",
    path: "/webhooks/:id/attempts",
    access: "webhooks:read",
    group: "Webhooks",
    summary: "Attempts to deliver",
    description: "Newest first, each with what was answered and how long it took.",
    params,
    query: z.object({ limit: limit(1000, 50), event_id: EventId.optional() }),
    answers: { 200: { description: "The attempts", schema: z.array(WebhookAttempt), example: [WEBHOOK_ATTEMPT] } },
    handle: async (ask) => {
      const { limit, event_id = null } = ask.query;
      return jsonText(
        unwrap(await call(webhookStub(ask), (webhook) => webhook.attempts(ask.principal, limit, event_id))),
      );
    },
  }),
  route({
    method: "GET",
    path: "/webhooks/:id/journal",
    access: "webhooks:read",
    group: "Webhooks",
    summary: "What became of a webhook itself",
    description: "Made, changed, failing, recovered, disabled, enabled, events given up.",
    params,
    query: EventQuery,
    answers: {
      200: {
        description: "The newest first; or, with `Accept: text/event-stream`, as it happens",
        schema: z.array(JournalEvent),
        media: ["application/json", "text/event-stream"],
      },
    },
    handle: async (ask) => {
      const { level, limit, after } = ask.query;
      const stub = webhookStub(ask);
      if (wantsStream(ask.request))
        return journalStream(startOf(ask.request, after), level, (seq, waitMs) =>
          call(stub, (webhook) => webhook.follow(ask.principal, seq, waitMs)),
        );
      const events = unwrap(await call(stub, (webhook) => webhook.events(ask.principal, level ?? null, limit)));
      return jsonText(`[${events.join(",")}]`);
    },
  }),
  route({
    method: "POST",
    path: "/webhooks/:id/ping",
    access: "webhooks:write",
    group: "Webhooks",
    summary: "Try a webhook out",
    description:
      "Sends one `webhook.ping` at once, whatever the webhook's filters and status, and answers what came of it.",
    params,
    answers: { 200: { description: "The attempt", schema: WebhookAttempt, example: WEBHOOK_ATTEMPT } },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      return jsonText(unwrap(await call(webhookStub(ask), (webhook) => webhook.ping(mutation, ask.principal), 1)));
    },
  }),
  route({
    method: "POST",
    path: "/webhooks/:id/redeliver",
    access: "webhooks:write",
    group: "Webhooks",
    summary: "Deliver events again",
    description:
      "One event, all that came within a time, or all that were given up; each under the id and with the body that it had. What waits is not doubled.",
    params,
    body: { schema: WebhookRedeliver, check: (body) => checkBody(WebhookRedeliver, body), example: { failed: true } },
    mutation: ["idempotency", "if-match"],
    answers: {
      200: {
        description: "How many are sent again",
        schema: z.object({ redelivered: z.int() }),
        example: { redelivered: 3 },
      },
    },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const asked = ask.body;
      const which: Which =
        "since" in asked
          ? { since: Date.parse(asked.since), until: asked.until === undefined ? Date.now() : Date.parse(asked.until) }
          : asked;
      const mutation = await ask.mutation();
      return resource(
        unwrap(await call(webhookStub(ask), (webhook) => webhook.redeliver(which, mutation, ask.principal))),
      );
    },
  }),
];
