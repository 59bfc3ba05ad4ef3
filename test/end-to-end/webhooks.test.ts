import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Problem } from "../../contract/problem.ts";
import type { WebhookAttempt, WebhookCreated } from "../../contract/webhook-endpoint.ts";
import { type Received, WebhookReceiver } from "../webhook-receiver.ts";
import { type Ask, until } from "./client.ts";
import { Cluster } from "./cluster.ts";
import { settled } from "./invariants.ts";
import { worker } from "./manifests.ts";

let receiver: WebhookReceiver;
let cluster: Cluster;
beforeAll(async () => {
  receiver = await WebhookReceiver.start();
  cluster = await Cluster.start([{ name: "one", runtimes: ["process"] }], { webhookTargets: "any" });
});
afterAll(async () => {
  await cluster?.close();
  await receiver?.close();
});

async function post<T>(path: string, ask: Ask = {}): Promise<T> {
  const { status, text } = await cluster.client.send("POST", path, ask);
  if (status >= 300) throw new Error(`POST ${path}: ${status} ${text}`);
  return JSON.parse(text) as T;
}

type Told = { type: string; data: { deployment_id: string; old_status: string; new_status: string; seq: number } };
/** What came, each with its signature verified. */
const verified = (secret: string, name: string) =>
  receiver.received(name).map(({ headers, body }: Received) => ({
    id: String(headers["webhook-id"]),
    ...(new Webhook(secret).verify(body, headers as Record<string, string>) as Told),
  }));

test("every change of a deployment's status is told, signed and in order, over kills of the control plane and a receiver that fails", async () => {
  receiver.behave("a", { status: 500 }, { status: 204 });
  const body = { url: receiver.address("a"), events: ["deployment.status_changed"], namespaces: [cluster.namespace] };
  const key = "make-a";
  const made = await post<WebhookCreated>("/webhooks", { body, key });
  expect(await post<WebhookCreated>("/webhooks", { body, key })).toEqual(made);
  const { id, name } = await cluster.client.apply(worker(cluster, "process", "told"));
  await settled(cluster, [{ name, id, status: "running", replicas: 1, restarts: 0 }]);
  await cluster.killPlane();
  await cluster.startPlane();
  await cluster.ready("one");
  await cluster.client.delete(id);
  await settled(cluster, []);
  const transitions = () =>
    [...new Map(verified(made.secret, "a").map((told) => [told.id, told])).values()].map(
      ({ data }) => `${data.old_status} → ${data.new_status}`,
    );
  await until(
    () => `told so far: ${transitions()}`,
    () => transitions().includes("running → deleted"),
  );
  expect(transitions()).toEqual(["pending → creating", "creating → running", "running → deleted"]);
  // The first was refused, and came again with the same id and body.
  const [first, again] = receiver.received("a") as [Received, Received];
  expect(again.headers["webhook-id"]).toBe(first.headers["webhook-id"]);
  expect(again.body).toBe(first.body);
  const attempts = await cluster.client.json<WebhookAttempt[]>(`/webhooks/${made.id}/attempts`);
  expect(attempts.at(-1)).toMatchObject({ outcome: "failed", status: 500 });
  // Nothing of the secret is anywhere on disk, nor in an answer but the one that made it.
  expect(cluster.filesWith(made.secret.slice("whsec_".length, "whsec_".length + 24))).toEqual([]);
});

test("where only public addresses are allowed, none other is taken, and a name for this machine is not connected to", async () => {
  const strict = await Cluster.start([]);
  try {
    for (const url of [
      "http://example.com/",
      receiver.address("s"),
      "https://127.0.0.1/",
      "https://[::ffff:10.0.0.1]/",
    ]) {
      const { status, text } = await strict.client.send("POST", "/webhooks", { body: { url } });
      expect(status, url).toBe(422);
      expect((JSON.parse(text) as Problem).violations).toMatchObject([{ code: "webhook.url.format" }]);
    }
    // A public-looking name that this machine's hosts file or a rebinding resolver sends elsewhere must not be connected to either; a name
    // that cannot be resolved is the same to us: the attempt fails, and nothing is reached.
    const made = await strict.client.send("POST", "/webhooks", { body: { url: "https://rebound.example.com/x" } });
    const { id } = JSON.parse(made.text) as WebhookCreated;
    const { text } = await strict.client.send("POST", `/webhooks/${id}/ping`);
    expect(JSON.parse(text)).toMatchObject({ outcome: "failed", status: null });
  } finally {
    await strict.close();
  }
});
