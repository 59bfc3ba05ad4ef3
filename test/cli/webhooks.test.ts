import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ControlPlane, startControlPlane } from "../../cli/up/control-plane.ts";
import { newRootToken, tokenHash } from "../../cli/up/root-token.ts";
import { newSecretKey } from "../../cli/up/secret-keys.ts";
import type { WebhookView } from "../../contract/webhook-endpoint.ts";
import { type Received, WebhookReceiver } from "../webhook-receiver.ts";
import { type Captured, freshEnv, lamplighter } from "./captured.ts";

// A real control plane without a host, and a receiver on this machine.
const dataDir = mkdtempSync(join(tmpdir(), "lamplighter-cli-"));
const rootToken = newRootToken();
let plane: ControlPlane;
let receiver: WebhookReceiver;
let env: Record<string, string>;

beforeAll(async () => {
  receiver = await WebhookReceiver.start();
  plane = await startControlPlane({
    dataDir,
    port: 0,
    tokenHash: tokenHash(rootToken),
    secretKeys: newSecretKey("k1"),
    webhookTargets: "any",
  });
  env = freshEnv({ LAMPLIGHTER_URL: plane.url, LAMPLIGHTER_TOKEN: rootToken });
});

afterAll(async () => {
  await plane.child.stop(500);
  await receiver.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const cli = (argv: string, stdin?: string): Promise<Captured> =>
  lamplighter(argv.split(" "), { env, ...(stdin === undefined ? {} : { stdin }) });
const secretIn = ({ err }: Captured) => /whsec_[A-Za-z0-9+/=]+/.exec(err)?.[0] as string;
const verify = (secret: string, { headers, body }: Received) =>
  new Webhook(secret).verify(body, headers as Record<string, string>);

async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < 250; i++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  throw new Error("not within 5 s");
}

describe("webhooks", () => {
  test("are made with the id alone on stdout, tried, listed, inspected by URL, changed and revoked", async () => {
    const url = receiver.address("told");
    const made = await cli(`webhook create ${url} -e deployment.* -e host.status_changed -n shop -l tier=front`);
    expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^whk_[0-9a-z]{26}\n$/) });
    const id = made.out.trim();
    expect((await cli("webhook list")).out).toMatch(
      new RegExp(`${id} +${url} +active +deployment\\.\\*,host\\.status_changed +shop`),
    );
    expect((await cli(`webhook test ${url}`)).out).toMatch(/^delivered: answered 204 in \d+ ms\n$/);
    expect(verify(secretIn(made), receiver.received("told").at(-1) as Received)).toMatchObject({
      type: "webhook.ping",
    });
    receiver.behave("told", { status: 500, body: "out of order" });
    expect(await cli(`webhook test ${id.slice(0, 20)}`)).toEqual({
      code: 1,
      out: "",
      err: "error: not delivered: answered 500: out of order\n",
    });
    expect((await cli(`webhook attempts ${id}`)).out).toMatch(/failed +500 +\d+ ms +answered 500: out of order/);
    expect((await cli(`webhook inspect ${url}`)).out).toMatch(
      /Status +active[\s\S]*Labels +tier=front[\s\S]*webhook\.ping/,
    );
    expect((await cli(`webhook update ${id} --all-namespaces --all-labels -e * --disable`)).out).toContain(
      "is disabled",
    );
    const { out } = await cli(`webhook inspect ${id} -o json`);
    expect(JSON.parse(out)).toMatchObject({ status: "disabled", namespaces: [], labels: {}, events: ["*"] });
    expect(out).not.toContain(secretIn(made));
    expect((await cli(`webhook update ${id}`)).err).toContain("nothing to change");
    expect((await cli(`webhook update ${id} --enable`)).out).toContain("is active");
    expect((await cli(`webhook events ${id}`)).out).toMatch(/webhook_created[\s\S]*state_transition/);
    expect((await cli(`webhook delete ${url}`)).out).toBe(`webhook ${url} revoked\n`);
    expect((await cli("webhook list")).out).toMatch(/revoked/);
    expect((await cli(`webhook update ${id} --enable`)).code).toBe(5);
  });

  test("deliveries are listed, and sent again by id, by time, or because they failed", async () => {
    const url = receiver.address("again");
    const { out } = await cli(`webhook create ${url} -e deployment.status_changed -n again`);
    const id = out.trim();
    await cli("apply -f -", "name: web\nnamespace: again\nimage: x\n");
    await cli("deployment delete again/web");
    const came = () => receiver.received("again").map(({ headers }) => String(headers["webhook-id"]));
    await until(() => came().length > 0);
    const first = came()[0] as string;
    await until(async () => (await cli(`webhook deliveries ${id} -s delivered`)).out.includes(first));
    expect((await cli(`webhook deliveries ${id} -s dead`)).out).toBe("No events.\n");
    expect((await cli(`webhook redeliver ${id} ${first}`)).out).toBe("1 event is sent again\n");
    await until(() => came().filter((one) => one === first).length === 2);
    await until(async () => (await cli(`webhook deliveries ${id} -s pending`)).out === "No events.\n");
    const events = new Set(came()).size;
    expect((await cli(`webhook redeliver ${id} --since 1h -o json`)).out).toBe(`{"redelivered":${events}}\n`);
    expect((await cli(`webhook redeliver ${id} --failed`)).out).toBe("0 events are sent again\n");
    expect((await cli(`webhook redeliver ${id}`)).err).toContain("say which events");
    expect((await cli(`webhook redeliver ${id} --since yesterday`)).err).toContain("expected a duration such as 2h");
    expect((await cli(`webhook redeliver ${id} ${first} --failed`)).code).toBe(1);
  });

  test("a new secret is the only thing on stdout; both sign until the overlap is over", async () => {
    const url = receiver.address("rotated");
    const made = await cli(`webhook create ${url} --format ring --secret -`, "a-secret-of-ours\n");
    expect(made.err).toContain("a-secret-of-ours");
    const id = made.out.trim();
    const rotated = await cli(`webhook rotate-secret ${id} --overlap 1h`);
    expect(rotated).toMatchObject({ code: 0, out: expect.stringMatching(/^whsec_\S+\n$/) });
    expect(rotated.err).toContain("Both secrets sign");
    await cli(`webhook test ${id}`);
    const received = receiver.received("rotated").at(-1) as Received;
    expect(String(received.headers["webhook-signature"]).split(" ")).toHaveLength(2);
    const newest = rotated.out.trim();
    new Webhook(newest).verify(received.body, received.headers as Record<string, string>);
    new Webhook("a-secret-of-ours", { format: "raw" }).verify(
      received.body,
      received.headers as Record<string, string>,
    );
    expect(received.headers["x-ring-event"]).toBe("webhook.ping");
    const mac = createHmac("sha256", newest).update(received.body).digest("hex");
    expect(received.headers["x-ring-signature"]).toBe(`sha256=${mac}`);
    expect((await cli(`webhook rotate-secret ${id} --overlap 0s`)).err).toContain("Only the new secret signs now");
    const view = JSON.parse((await cli(`webhook inspect ${id} -o json`)).out) as WebhookView;
    expect(view).toMatchObject({ secrets: 1, ring_headers: true });
  });

  test("what is wrong is said by its flag", async () => {
    expect(await cli("webhook create ftp://example.com")).toMatchObject({
      code: 1,
      out: "",
      err: expect.stringContaining("  * url: expected https"),
    });
    expect((await cli(`webhook create ${receiver.address("x")} -e deployment.gone`)).err).toMatch(
      / {2}\* events\[0\]: .*has no event 'gone'/,
    );
    expect((await cli("webhook inspect https://nowhere.example.com/")).code).toBe(4);
    expect((await cli("webhook inspect whk_01kfffffffffffffffffffffff")).code).toBe(4);
  });
});

describe("hooks", () => {
  test("are made with the address alone on stdout; a signed call deploys, once, and its outcome is shown", async () => {
    await cli("apply -f -", "name: api\nnamespace: hooked\nimage: registry.example.com/api:v1\n");
    const made = await cli(
      "hook create hooked/api --source github --image registry.example.com/api:{short_sha} --branch main --secret -",
      "sixteen characters or more".replaceAll(" ", "-"),
    );
    expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^http:\/\/\S+\/hooks\/hook_[0-9a-z]+\n$/) });
    const push = (secret: string) => {
      const body = JSON.stringify({ ref: "refs/heads/main", after: "0123456789abcdef0123456789abcdef01234567" });
      const signature = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
      const headers = { "x-hub-signature-256": signature, "x-github-event": "push", "x-github-delivery": "d-1" };
      return fetch(made.out.trim(), { method: "POST", body, headers });
    };
    expect((await push("not the secret")).status).toBe(401);
    for (let i = 0; i < 2; i++)
      expect(await (await push("sixteen-characters-or-more")).json()).toMatchObject({ id: "d-1", outcome: "applied" });
    expect((await cli("hook deliveries hooked/api")).out).toMatch(/d-1 +applied +registry\.example\.com\/api:0123456/);
    expect((await cli("deployment inspect hooked/api")).out).toContain("registry.example.com/api:0123456");
    expect((await cli("hook list -n hooked")).out).toMatch(/hooked +api +github +branch main/);
    expect((await cli("hook inspect hooked/api")).out).toMatch(/Address +http\S+[\s\S]*Takes +branch main[\s\S]*d-1/);
    expect((await cli("hook delete hooked/api")).out).toBe("hook hooked/api deleted\n");
    expect((await push("sixteen-characters-or-more")).status).toBe(401);
    await until(async () => (await cli("hook list -n hooked")).out === "No hooks.\n");
  });

  test("a forge's hook without an image is refused by its field", async () => {
    expect((await cli("hook create web --source gitlab")).err).toMatch(/ {2}\* image: a push to gitlab names no image/);
  });
});
