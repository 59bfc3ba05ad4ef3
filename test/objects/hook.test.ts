import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { HookDelivery, HookSource } from "../../contract/hook.ts";
import { newId } from "../../contract/id.ts";
import { checkManifest } from "../../contract/manifest-check.ts";
import type { HookConfig } from "../../objects/hook/record.ts";
import { redeploy } from "../../objects/hook/redeploy.ts";
import type { HookHeaders } from "../../objects/hook/verify.ts";
import { remote } from "../../objects/remote.ts";
import { mutation } from "./webhook-endpoint.ts";

const SECRET = "sixteen-characters-or-more";

/** A hook for the deployment `none`; where that is not there, each delivery is noted once, as failed. */
async function made(source: HookSource, namespace = "hooks") {
  const hook = remote(env.HOOK, newId("hook", Date.now()));
  const config = {
    namespace,
    deployment: "none",
    source,
    image: "web:{sha}",
    branches: ["main"],
    tags: [],
    description: "",
  };
  expect(await hook.create({ config, secret: SECRET }, mutation())).toMatchObject({ ok: true });
  return {
    receive: (headers: HookHeaders, body: string) => hook.receive({ headers, body, given: null }),
    deliveries: async () => {
      const reply = await hook.deliveries([], 10);
      return reply.ok ? (JSON.parse(reply.value) as HookDelivery[]).map(({ id }) => id) : reply.refusal;
    },
  };
}

async function hmac(body: string, secret = SECRET): Promise<string> {
  const how = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(secret), how, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(body)));
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const PUSH = JSON.stringify({ ref: "refs/heads/main", after: "ab".repeat(20) });

describe("a delivery is carried out once", () => {
  test("by its id, and of a body that was signed alone by the body too", async () => {
    const { receive, deliveries } = await made("github");
    const call = async (id: string) =>
      receive(
        {
          "x-hub-signature-256": `sha256=${await hmac(PUSH)}`,
          "x-github-event": "push",
          "x-github-delivery": id,
        },
        PUSH,
      );
    for (const id of ["one", "one", "two"]) expect(await call(id)).toMatchObject({ ok: true, value: { id: "one" } });
    expect(await deliveries()).toEqual(["one"]);
  });

  test("where the secret itself is shown, the same body under another id is another push", async () => {
    const { receive, deliveries } = await made("gitlab");
    const call = (id: string) =>
      receive({ "x-gitlab-token": SECRET, "x-gitlab-event": "Push Hook", "x-gitlab-event-uuid": id }, PUSH);
    // A branch that is put back and forth by force.
    for (const id of ["one", "one", "two"]) expect(await call(id)).toMatchObject({ ok: true, value: { id } });
    expect(await deliveries()).toEqual(["two", "one"]);
  });

  test("nothing is noted of who cannot show the secret, and all are refused alike", async () => {
    const { receive, deliveries } = await made("github");
    const wrong: HookHeaders[] = [
      {},
      { "x-hub-signature-256": `sha256=${await hmac(PUSH, "another-secret-of-16")}` },
      { "x-hub-signature-256": "sha256=00" },
      { "x-gitlab-token": SECRET },
      { authorization: `Bearer ${SECRET}` },
    ];
    const answers = await Promise.all(wrong.map((headers) => receive({ "x-github-event": "push", ...headers }, PUSH)));
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(answers[0]).toMatchObject({ ok: false, refusal: { code: "hook_not_verified" } });
    expect(await deliveries()).toEqual([]);
  });
});

test("pushes that come at the same time are applied in the order in which they came", async () => {
  const space = `hooks-${crypto.randomUUID().slice(0, 8)}`;
  const checked = checkManifest({ name: "none", namespace: space, runtime: "docker", image: "web:0" });
  if (!checked.ok) throw new Error(JSON.stringify(checked.violations));
  const namespace = remote(env.NAMESPACE, space);
  await namespace.apply({ manifest: checked.manifest, mutation: mutation(), dryRun: false });
  const { receive } = await made("gitlab", space);
  const commits = ["a", "b", "c", "d"].map((letter) => letter.repeat(40));
  const answers = await Promise.all(
    commits.map((after) =>
      receive(
        { "x-gitlab-token": SECRET, "x-gitlab-event": "Push Hook" },
        JSON.stringify({ ref: "refs/heads/main", after }),
      ),
    ),
  );
  expect(answers.map((answer) => answer.ok && answer.value.outcome)).toEqual(commits.map(() => "applied"));
  const applied = (await namespace.revisions("none")).map(({ manifest }) => manifest.image).reverse();
  expect(applied).toEqual(["web:0", ...commits.map((commit) => `web:${commit}`)]);
});

test("one that a crash cut off before its outcome was noted tells it all the same, and does it once", async () => {
  const space = `hooks-${crypto.randomUUID().slice(0, 8)}`;
  const checked = checkManifest({ name: "web", namespace: space, runtime: "docker", image: "shop/web:v1" });
  if (!checked.ok) throw new Error(JSON.stringify(checked.violations));
  const namespace = remote(env.NAMESPACE, space);
  await namespace.apply({ manifest: checked.manifest, mutation: mutation(), dryRun: false });
  const config: HookConfig = {
    namespace: space,
    deployment: "web",
    source: "registry",
    image: null,
    branches: [],
    tags: ["v*"],
    description: "",
  };
  const push = { type: "image", repository: "shop/web", hub: false, tag: "v2", digest: null } as const;
  const by = (delivery: string) => redeploy(env, config, push, { hook: "hook_a", delivery });
  const first = await by("d-1");
  expect(first).toMatchObject({ outcome: "applied", image: "shop/web:v2" });
  expect(await by("d-1")).toEqual(first);
  // The deployment that has the name now was never made, as when the crash came right after it got the name.
  const unmade = { getByName: (id: string) => env.DEPLOYMENT.getByName(`${id}-unmade`) } as typeof env.DEPLOYMENT;
  await expect(
    redeploy({ ...env, DEPLOYMENT: unmade }, config, push, { hook: "hook_a", delivery: "d-1" }),
  ).rejects.toThrow(/is yet to be made/);
  expect(await by("d-2")).toMatchObject({ outcome: "unchanged", deployment_id: first.deployment_id });
  expect((await namespace.revisions("web")).map(({ cause }) => cause)).toEqual(["hook hook_a delivery d-1", "apply"]);
});
