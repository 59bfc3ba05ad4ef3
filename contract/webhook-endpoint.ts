import { z } from "zod";
import { type ActionTable, AllowedActions } from "./action.ts";
import { WEBHOOK_FORMATS } from "./webhook.ts";

/** The statuses of an endpoint. A revoked one is listed for a week, and does nothing. */
export const WEBHOOK_STATUSES = ["active", "disabled", "revoked"] as const;
export const WebhookStatus = z.enum(WEBHOOK_STATUSES);
export type WebhookStatus = z.infer<typeof WebhookStatus>;

/** Why an endpoint is disabled: somebody asked, it answered 410, or it has answered nothing but failures for five days. */
export const DISABLED_REASONS = ["by_user", "gone_410", "failing_5_days"] as const;
export const DisabledReason = z.enum(DISABLED_REASONS);
export type DisabledReason = z.infer<typeof DisabledReason>;

export const WEBHOOK_ACTIONS = ["update", "enable", "disable", "ping", "redeliver", "rotate_secret", "delete"] as const;
export type WebhookAction = (typeof WEBHOOK_ACTIONS)[number];

/** What may be asked in which status. `already`: success without work. */
export const WEBHOOK_ACTION_TABLE = {
  update: { from: ["active", "disabled"], already: [] },
  enable: { from: ["disabled"], already: ["active"] },
  disable: { from: ["active"], already: ["disabled"] },
  ping: { from: ["active", "disabled"], already: [] },
  redeliver: { from: ["active", "disabled"], already: [] },
  rotate_secret: { from: ["active", "disabled"], already: [] },
  delete: { from: ["active", "disabled"], already: ["revoked"] },
} as const satisfies ActionTable<WebhookStatus, WebhookAction>;

/** Every edge that an endpoint may take. */
export const WEBHOOK_NEXT = {
  active: ["disabled", "revoked"],
  disabled: ["active", "revoked"],
  revoked: [],
} as const satisfies Record<WebhookStatus, readonly WebhookStatus[]>;

/** Where an endpoint stands. `failures` in a row, since when, and until when nothing is sent but by one event that tries it out. */
export const EndpointState = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("active"),
    failures: z.int().nonnegative(),
    failing_since: z.int().nullable(),
    held_until: z.int().nullable(),
  }),
  z.object({ status: z.literal("disabled"), reason: DisabledReason, at: z.int() }),
  z.object({ status: z.literal("revoked"), at: z.int() }),
]);
export type EndpointState = z.infer<typeof EndpointState>;

const Url = z.string().min(1).max(2048);
const Events = z.array(z.string().max(100)).max(100);
const Namespaces = z.array(z.string().min(1).max(63)).max(100);
const Labels = z.record(z.string().min(1).max(100), z.string().max(200));
/** `whsec_` and base64 of 24 to 64 bytes; or a text of one's own, whose bytes are the key. */
const Secret = z
  .string()
  .regex(/^[\x21-\x7e]{8,200}$/, "expected 8 to 200 printable ASCII characters without spaces")
  .refine((text) => !text.startsWith("whsec_") || isKeyText(text.slice(6)), {
    message: "after whsec_, expected base64 of 24 to 64 bytes",
  });

const isKeyText = (text: string): boolean =>
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) &&
  text.replaceAll("=", "").length >= 32 &&
  text.replaceAll("=", "").length <= 86;

const Description = z.string().max(500);

export const WebhookCreate = z.strictObject({
  url: Url,
  events: Events.nullish().describe("Types (`deployment.error`), families (`deployment.*`) or `*`; empty: everything"),
  secret: Secret.nullish().describe("Drawn when left out: `whsec_…`"),
  namespaces: Namespaces.default([]).describe("Only what is in these; empty: everything, the cluster's own included"),
  labels: Labels.default({}).describe("Only what has all of these labels"),
  format: z.enum(WEBHOOK_FORMATS).default("standard"),
  ring_headers: z
    .boolean()
    .optional()
    .describe("Also `X-Ring-Event` and `X-Ring-Signature`; default: with `format: ring`"),
  description: Description.default(""),
});
export type WebhookCreate = z.infer<typeof WebhookCreate>;

export const WebhookPatch = z.strictObject({
  url: Url.optional(),
  events: Events.optional(),
  namespaces: Namespaces.optional(),
  labels: Labels.optional(),
  format: z.enum(WEBHOOK_FORMATS).optional(),
  ring_headers: z.boolean().optional(),
  description: Description.optional(),
  status: z.enum(["active", "disabled"]).optional().describe("Enables or disables it"),
});
export type WebhookPatch = z.infer<typeof WebhookPatch>;

const time = z.iso.datetime();

export const WebhookView = z.object({
  id: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  namespaces: z.array(z.string()),
  labels: z.record(z.string(), z.string()),
  format: z.enum(WEBHOOK_FORMATS),
  ring_headers: z.boolean(),
  description: z.string(),
  status: WebhookStatus,
  reason: z.string().describe("Why it is disabled; else its status"),
  message: z.string(),
  failing_since: time.nullable(),
  secrets: z.int().describe("How many secrets sign: two while a rotation overlaps"),
  created_at: time,
  updated_at: time,
  revoked_at: time.nullable(),
  revision: z.int(),
  allowedActions: AllowedActions,
  event_cursor: z.int().nonnegative(),
});
export type WebhookView = z.infer<typeof WebhookView>;

/** The one answer that carries the secret: of create and of rotate. */
export const WebhookCreated = WebhookView.extend({ secret: z.string(), message: z.string() });
export type WebhookCreated = z.infer<typeof WebhookCreated>;

export const DELIVERY_STATUSES = ["pending", "delivered", "dead"] as const;

/** One event in an endpoint's queue, as Ring shows it. */
export const WebhookDelivery = z.object({
  id: z.string().describe("The event's id: `webhook-id` on every attempt"),
  kind: z.string(),
  payload: z.string().describe("The body as it is sent"),
  status: z.enum(DELIVERY_STATUSES),
  attempts: z.int().nonnegative(),
  next_attempt_at: time.nullable().describe("null: done, or waits behind an earlier event of the same resource"),
  last_error: z.string().nullable(),
  created_at: time,
  updated_at: time,
});
export type WebhookDelivery = z.infer<typeof WebhookDelivery>;

export const WebhookAttempt = z.object({
  id: z.int(),
  event_id: z.string(),
  kind: z.string(),
  at: time,
  outcome: z.enum(["delivered", "failed"]),
  status: z.int().nullable().describe("The HTTP status; null when none came"),
  latency_ms: z.int().nonnegative(),
  error: z.string().nullable(),
  response: z.string().describe("The first 1 kB of the answer"),
});
export type WebhookAttempt = z.infer<typeof WebhookAttempt>;

export const WebhookRedeliver = z.union([
  z.strictObject({ event_id: z.string().min(1).max(200) }),
  z.strictObject({ since: z.iso.datetime({ offset: true }), until: z.iso.datetime({ offset: true }).optional() }),
  z.strictObject({ failed: z.literal(true) }),
]);
export type WebhookRedeliver = z.infer<typeof WebhookRedeliver>;

export const WebhookRotate = z.strictObject({
  secret: Secret.nullish(),
  overlap: z.string().default("24h").describe("How long the old secret signs as well; 0s ends it at once, 7d at most"),
});
export type WebhookRotate = z.infer<typeof WebhookRotate>;
