import { createHmac } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DeploymentView } from "../../contract/deployment.ts";
import type { WebhookAttempt, WebhookCreated, WebhookDelivery, WebhookView } from "../../contract/webhook-endpoint.ts";
import { WebhookReceiver } from "../webhook-receiver.ts";
import { until } from "./client.ts";
import { Cluster } from "./cluster.ts";
import { worker } from "./manifests.ts";

let receiver: WebhookReceiver;
/** One that is killed, and comes again on its port. */
let mortal: WebhookReceiver;
let cluster: Cluster;
beforeAll(async () => {
  [receiver, mortal] = [await WebhookReceiver.start(), await WebhookReceiver.start()];
  cluster = await Cluster.start([{ name: "one", runtimes: ["process"] }], { webhookTargets: "any" });
});
afterAll(async () => {
  await cluster?.close();
  await Promise.all([receiver?.close(), mortal?.close()]);
});

type Told = { type: string; data: { deployment_id: string; old_status: string; new_status: string; seq: number } };

type Six<T> = [T, T, T, T, T, T];

/** An endpoint that was made with a secret of its own, at a receiver that may not be there all the time. */
class Endpoint {
  readonly name: string;
  readonly made: WebhookCreated;
  readonly #at: () => WebhookReceiver;

  private constructor(name: string, made: WebhookCreated, at: () => WebhookReceiver) {
    this.name = name;
    this.made = made;
    this.#at = at;
  }

  static async make(name: string, at: () => WebhookReceiver, more: object = {}): Promise<Endpoint> {
    const body = {
      url: at().address(name),
      events: ["deployment.status_changed"],
      namespaces: [cluster.namespace],
      ...more,
    };
    const { status, text } = await cluster.client.send("POST", "/webhooks", { body });
    if (status !== 201) throw new Error(`${name}: ${status} ${text}`);
    return new Endpoint(name, JSON.parse(text) as WebhookCreated, at);
  }

  get received() {
    return this.#at().received(this.name);
  }

  /** By deployment, each event once, in the order in which they first came; every signature is verified. */
  chains(): Map<string, Told["data"][]> {
    const webhook = new Webhook(this.made.secret);
    const seen = new Map<string, Told["data"]>();
    for (const { headers, body } of this.received) {
      const { type, data } = webhook.verify(body, headers as Record<string, string>) as Told;
      if (type === "webhook.ping") continue;
      const id = String(headers["webhook-id"]);
      expect(id).toBe(`${data.deployment_id}:${data.seq}`);
      // What comes again is the same to the byte.
      if (seen.has(id)) expect(data).toEqual(seen.get(id));
      else seen.set(id, data);
    }
    return Map.groupBy(seen.values(), ({ deployment_id }) => deployment_id);
  }

  /** What is wrong with what it was told of these: nothing when each has every change, in order, to its end. */
  faults(ids: readonly string[]): string[] {
    const chains = this.chains();
    return ids.flatMap((id) => {
      const chain = chains.get(id) ?? [];
      const words = ["pending", ...chain.map(({ new_status }) => new_status)];
      const isWhole =
        chain.every(({ old_status }, i) => old_status === words[i]) &&
        chain.every(({ seq }, i) => seq > (chain[i - 1]?.seq ?? 0)) &&
        words.at(-1) === "deleted";
      return isWhole ? [] : [`${this.name}: ${id} was told as ${words.join(" → ")}`];
    });
  }

  view(): Promise<WebhookView> {
    return cluster.client.json(`/webhooks/${this.made.id}`);
  }

  /** Why attempts failed that were noted; one that a kill cut short is not. */
  async errors(): Promise<string[]> {
    const attempts = await this.attempts();
    return attempts.flatMap(({ outcome, error }) => (outcome === "failed" ? (error ?? "") : []));
  }

  /** Once a failure is noted, its receiver is well. Trying it out is enough then: what waits for a better time goes at once. */
  async heal(noted: RegExp): Promise<void> {
    await until(
      () => `${this.name} has not failed`,
      async () => (await this.errors()).some((error) => noted.test(error)),
    );
    if (this.name === "killed") mortal = await WebhookReceiver.start(Number(new URL(this.made.url).port));
    else receiver.behave(this.name, { status: 204 });
    await this.#ping();
    await until(
      () => `something waits still for ${this.name}, which is well`,
      async () => {
        const waiting = await this.#waiting();
        // An attempt that was under way when it was tried out has failed since, and has a better time of its own.
        if (waiting.some(({ next_attempt_at: next }) => next !== null && Date.parse(next) > Date.now()))
          await this.#ping();
        return waiting.length === 0;
      },
    );
  }

  async #ping(): Promise<void> {
    const { text } = await cluster.client.send("POST", `/webhooks/${this.made.id}/ping`);
    expect(JSON.parse(text)).toMatchObject({ outcome: "delivered" });
  }

  #waiting(): Promise<WebhookDelivery[]> {
    return cluster.client.json(`/webhooks/${this.made.id}/events?status=pending&limit=1000`);
  }

  attempts(): Promise<WebhookAttempt[]> {
    return cluster.client.json(`/webhooks/${this.made.id}/attempts?limit=1000`);
  }
}

test("receivers fail, hang, redirect, say 410 and are killed, the control plane is killed between: every change comes, by id once, in order, signed", async () => {
  receiver.behave("fails", { status: 500 });
  receiver.behave("hangs", { hang: true });
  receiver.behave("redirects", { status: 307, headers: { location: receiver.address("elsewhere") } });
  receiver.behave("gone", { status: 410 });
  const here = () => receiver;
  const endpoints = [
    await Endpoint.make("well", here, { ring_headers: true }),
    ...(await Promise.all(["fails", "hangs", "redirects", "gone"].map((name) => Endpoint.make(name, here)))),
    await Endpoint.make("killed", () => mortal),
  ];
  const [well, fails, hangs, redirects, gone, killed] = endpoints as Six<Endpoint>;
  await mortal.close();

  const ids: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const { id } = await cluster.client.apply(worker(cluster, "process", name));
    ids.push(id);
    // In the middle of what follows from it.
    await sleep(Math.random() * 150);
    await cluster.killPlane();
    await cluster.startPlane();
  }
  await cluster.ready("one");
  for (const id of ids)
    await until(
      () => `${id} does not run`,
      async () => (await cluster.client.deployment(id)).status === "running",
    );
  for (const id of ids) await cluster.client.delete(id);
  await sleep(Math.random() * 150);
  await cluster.killPlane();
  await cluster.startPlane();

  // One whose receiver is well hears everything meanwhile.
  const told = (all: readonly Endpoint[]) =>
    until(
      () => all.flatMap((one) => one.faults(ids)).join("\n"),
      () => all.flatMap((one) => one.faults(ids)).length === 0,
    );
  await told([well]);
  await until(
    () => "410 did not disable it",
    async () => (await gone.view()).status === "disabled",
  );
  expect(await gone.view()).toMatchObject({ reason: "gone_410" });
  expect(await gone.errors()).toContain("answered 410");
  receiver.behave("gone", { status: 204 });
  const [refused] = gone.received.splice(0);
  const enabled = { body: { status: "active" } };
  expect((await cluster.client.send("PATCH", `/webhooks/${gone.made.id}`, enabled)).status).toBe(200);
  // It took nothing new while it was disabled; what it had refused comes again.
  await until(
    () => "what was answered 410 does not come again",
    () => gone.received.some(({ headers }) => headers["webhook-id"] === refused?.headers["webhook-id"]),
  );
  await Promise.all([
    fails.heal(/answered 500/),
    hangs.heal(/no answer within 10 s/),
    redirects.heal(/answered 307: redirects are not followed/),
    killed.heal(/not reached/),
  ]);
  await told(endpoints.filter((one) => one !== gone));

  expect(receiver.received("elsewhere")).toEqual([]);
  for (const { headers, body } of well.received) {
    const mac = createHmac("sha256", well.made.secret).update(body).digest("hex");
    expect(headers).toMatchObject({
      "x-ring-event": "deployment.status_changed",
      "x-ring-signature": `sha256=${mac}`,
    });
  }
}, 180_000);

const revisionsOf = async (id: string) =>
  cluster.client.json<{ cause: string; deployment_id: string }[]>(`/deployments/${id}/revisions`);

/** Calls the hook, and again as long as the control plane is not there. */
async function push(url: string, body: string, headers: Record<string, string>): Promise<Response> {
  return until(
    () => "the hook does not answer",
    () => fetch(url, { method: "POST", body, headers, signal: AbortSignal.timeout(10_000) }).catch(() => null),
  );
}

test("a push of a forge or a registry deploys its image, once, however often it is told and whatever is killed", async () => {
  const manifest = {
    name: "hooked",
    namespace: cluster.namespace,
    runtime: "docker",
    image: "registry.example.com/shop/web:v1",
  };
  const { id } = await cluster.client.apply(manifest);
  const make = async (body: object) => {
    const hook = { namespace: cluster.namespace, deployment: "hooked", ...body };
    const { text } = await cluster.client.send("POST", "/hooks", { body: hook });
    return JSON.parse(text) as { url: string; secret: string };
  };
  const github = await make({
    source: "github",
    image: "registry.example.com/shop/web:{short_sha}",
    branches: ["main"],
  });
  const registry = await make({ source: "registry", tags: ["v*"] });

  const commit = JSON.stringify({ ref: "refs/heads/main", after: "abcdef0123456789abcdef0123456789abcdef01" });
  const signed = (secret: string, delivery: string) => ({
    "x-github-event": "push",
    "x-github-delivery": delivery,
    "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(commit).digest("hex")}`,
  });
  expect((await push(github.url, commit, signed("another secret", "d-0"))).status).toBe(401);
  const calls = Array.from({ length: 5 }, () => push(github.url, commit, signed(github.secret, "d-1")));
  await sleep(20);
  await cluster.killPlane();
  await cluster.startPlane();
  await Promise.all(calls);
  const outcome = async () =>
    (await (await push(github.url, commit, signed(github.secret, "d-1"))).json()) as {
      outcome: string;
      deployment_id: string;
    };
  let last: object | null = null;
  const applied = await until(
    () => `the push is not applied: ${JSON.stringify(last)}`,
    async () => {
      const answer = await outcome();
      last = answer;
      return answer.outcome === "applied" ? answer : null;
    },
  );
  // The same body under another id is the same push: whoever saw one cannot make another of it.
  expect(await (await push(github.url, commit, signed(github.secret, "d-2"))).json()).toMatchObject({ id: "d-1" });
  const view = (name: string) => cluster.client.json<DeploymentView>(`/deployments/${name}`);
  expect((await view(applied.deployment_id)).image).toBe("registry.example.com/shop/web:abcdef0");

  const notification = JSON.stringify({
    events: [{ action: "push", target: { repository: "shop/web", tag: "v2", digest: `sha256:${"ab".repeat(32)}` } }],
  });
  for (let i = 0; i < 3; i++) {
    const answer = await push(registry.url, notification, { authorization: `Bearer ${registry.secret}` });
    expect(await answer.json()).toMatchObject({ outcome: "applied", image: "registry.example.com/shop/web:v2" });
  }
  const holder = (await cluster.client.deployments()).find(
    ({ name, status }) => name === "hooked" && status !== "deleted",
  );
  expect(holder?.image).toBe("registry.example.com/shop/web:v2");
  const causes = (await revisionsOf(holder?.id ?? id)).map(({ cause }) => cause.split(" ")[0]);
  expect(causes).toEqual(["hook", "hook", "apply"]);
}, 120_000);
