// Runs beside the tests inside workerd, which have no server of their own: something that webhooks can be sent to.
import type { TestProject } from "vitest/node";
import { WebhookReceiver } from "./webhook-receiver.ts";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const receiver = await WebhookReceiver.start();
  project.provide("receiver", receiver.url);
  return () => receiver.close();
}
