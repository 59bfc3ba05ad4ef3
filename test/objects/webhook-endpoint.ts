import { env } from "cloudflare:workers";
import { inject } from "vitest";
import { newId } from "../../contract/id.ts";
import type { Mutation } from "../../contract/request.ts";
import type { WebhookEvent } from "../../contract/webhook.ts";
import type { WebhookAttempt, WebhookDelivery, WebhookView } from "../../contract/webhook-endpoint.ts";
import { remote } from "../../objects/remote.ts";
import type { WebhookConfig } from "../../objects/webhook/record.ts";
import { ROOT } from "../../src/access.ts";
import type { Behaviour, Received } from "../webhook-receiver.ts";

export const SECRET = `whsec_${"0123456789abcdef".repeat(4)}`;

export const mutation = (over: Partial<Mutation> = {}): Mutation => ({
  actor: "tok_test",
  request_id: "req_test",
  if_match: null,
  idempotency: null,
  ...over,
});

/** A WebhookObject that sends to a name of its own at the receiver. */
export class Endpoint {
  readonly id = newId("webhook", Date.now());
  readonly name = crypto.randomUUID();
  readonly url = `${inject("receiver")}/r/${this.name}`;

  static async make(config: Partial<WebhookConfig> = {}, ...behaviours: Behaviour[]): Promise<Endpoint> {
    const endpoint = new Endpoint();
    await endpoint.behave(...behaviours);
    const whole: WebhookConfig = {
      url: endpoint.url,
      events: [],
      // What tests of other files make known does not come here, unless it is asked for.
      namespaces: ["nobody"],
      labels: {},
      format: "standard",
      ring_headers: false,
      description: "",
      ...config,
    };
    const reply = await endpoint.object.create({ config: whole, secret: SECRET }, mutation());
    if (!reply.ok) throw new Error(reply.refusal.detail);
    return endpoint;
  }

  get stub() {
    return env.WEBHOOK.getByName(this.id);
  }

  get object() {
    return remote(env.WEBHOOK, this.id);
  }

  behave(...behaviours: Behaviour[]): Promise<unknown> {
    return fetch(this.url, { method: "PUT", body: JSON.stringify(behaviours) }).then((answer) => answer.text());
  }

  async received(): Promise<Received[]> {
    return (await fetch(this.url)).json();
  }

  async view(): Promise<WebhookView> {
    const reply = await this.object.read(ROOT);
    if (!reply.ok) throw new Error(reply.refusal.detail);
    return JSON.parse(reply.value.body);
  }

  async deliveries(): Promise<WebhookDelivery[]> {
    const reply = await this.object.deliveries(ROOT, 1000, null, null);
    if (!reply.ok) throw new Error(reply.refusal.detail);
    return JSON.parse(reply.value);
  }

  async attempts(): Promise<WebhookAttempt[]> {
    const reply = await this.object.attempts(ROOT, 1000, null);
    if (!reply.ok) throw new Error(reply.refusal.detail);
    return JSON.parse(reply.value);
  }

  async reasons(): Promise<string[]> {
    const reply = await this.object.events(ROOT, null, 100);
    if (!reply.ok) throw new Error(reply.refusal.detail);
    return reply.value.map((text) => JSON.parse(text).reason).reverse();
  }
}

export const eventOf = (resource: string, seq: number, over: Partial<WebhookEvent> = {}): WebhookEvent => ({
  id: `${resource}:${seq}`,
  type: "deployment.status_changed",
  timestamp: new Date().toISOString(),
  resource,
  namespace: "shop",
  labels: {},
  data: { schema_version: 1, deployment_id: resource, seq },
  ...over,
});

export async function until(
  condition: () => Promise<boolean> | boolean,
  what: string,
  withinMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
