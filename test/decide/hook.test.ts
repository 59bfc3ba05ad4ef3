import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { describe, expect, test } from "vitest";
import { type HookSource, imageTemplateFault } from "../../contract/hook.ts";
import { parseImage } from "../../objects/hook/image-reference.ts";
import { type HookFilter, imageFor, matches, type Push, readPush } from "../../objects/hook/push.ts";
import { deliveryIdOf, type HookHeaders, isVerified } from "../../objects/hook/verify.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;
const SHA = "1a2b3c4d5e6f708192a3b4c5d6e7f80919293949";
const ZERO = "0".repeat(40);

const distribution = (target: Record<string, unknown>, action = "push") => ({
  events: [{ id: "e1", action, target: { mediaType: "m", ...target }, request: { host: "registry.example.com" } }],
});

describe("what a call says", () => {
  const image = (over: Partial<Extract<Push, { type: "image" }>>): Push => ({
    type: "image",
    repository: "shop/web",
    hub: false,
    tag: "1.2",
    digest: null,
    ...over,
  });
  const commit = (over: Partial<Extract<Push, { type: "commit" }>>): Push => ({
    type: "commit",
    ref: "main",
    isTag: false,
    sha: SHA,
    isDefault: true,
    ...over,
  });
  test.each<[HookSource, string | null, unknown, Push | RegExp]>([
    ["registry", null, distribution({ repository: "shop/web", tag: "1.2", digest: DIGEST }), image({ digest: DIGEST })],
    ["registry", null, distribution({ repository: "shop/web", digest: DIGEST }), /no push of a tag/],
    ["registry", null, distribution({ repository: "shop/web", tag: "1.2" }, "pull"), /no push of a tag/],
    ["registry", null, distribution({ repository: "shop/web", tag: "../../x" }), /no tag/],
    ["registry", null, { events: [null, 3, "x", {}] }, /no push of a tag/],
    [
      "registry",
      null,
      { push_data: { tag: "7" }, repository: { repo_name: "org/web" } },
      image({ repository: "org/web", hub: true, tag: "7" }),
    ],
    [
      "registry",
      null,
      { push_data: { tag: "7" }, repository: { repo_name: "nginx" } },
      image({ repository: "library/nginx", hub: true, tag: "7" }),
    ],
    ["registry", null, { push_data: null, repository: null }, /no tag/],
    ["registry", null, {}, /neither/],
    ["github", "push", { ref: "refs/heads/main", after: SHA, repository: { default_branch: "main" } }, commit({})],
    [
      "github",
      "push",
      { ref: "refs/heads/a/b", after: SHA, repository: { default_branch: "main" } },
      commit({ ref: "a/b", isDefault: false }),
    ],
    [
      "github",
      "push",
      { ref: "refs/tags/v1", after: SHA, repository: { default_branch: "v1" } },
      commit({ ref: "v1", isTag: true, isDefault: false }),
    ],
    ["github", "push", { ref: "refs/heads/main", after: ZERO, deleted: true }, /was deleted/],
    ["github", "ping", { zen: "…" }, /'ping' is no push/],
    ["github", null, { ref: "refs/heads/main", after: SHA }, /is no push/],
    [
      "gitlab",
      "Push Hook",
      { ref: "refs/heads/main", checkout_sha: SHA, project: { default_branch: "main" } },
      commit({}),
    ],
    [
      "gitlab",
      "Tag Push Hook",
      { ref: "refs/tags/v2", checkout_sha: SHA, project: { default_branch: "main" } },
      commit({ ref: "v2", isTag: true, isDefault: false }),
    ],
    ["gitlab", "Merge Request Hook", { ref: "refs/heads/main", checkout_sha: SHA }, /no push/],
    ["gitea", "push", { ref: "refs/heads/main", after: SHA, repository: { default_branch: "main" } }, commit({})],
    ["generic", null, { image: `ghcr.io/shop/web:1.2@${DIGEST}` }, image({ digest: DIGEST })],
    ["generic", null, { type: "image.pushed", data: { tag: "1.2" } }, image({ repository: "" })],
    ["generic", null, { ref: "refs/heads/main", sha: SHA }, commit({ isDefault: false })],
    ["generic", null, {}, /neither image, tag nor commit/],
    ["github", "push", null, /no JSON object/],
    ["registry", null, [1], /no JSON object/],
    ["generic", null, { data: null, tag: 7, image: {} }, /neither/],
    ["github", "push", { ref: "refs/heads/main", after: "$(reboot)" }, /was deleted|neither/],
  ])("%s %s %j", (source, event, body, expected) => {
    const read = readPush(source, event, body);
    if (expected instanceof RegExp) expect(read).toEqual({ ignored: expect.stringMatching(expected) });
    else expect(read).toEqual({ push: expected });
  });
});

describe("the image that a push asks for", () => {
  const hook = (over: Partial<HookFilter> = {}): HookFilter => ({
    source: "registry",
    image: null,
    branches: [],
    tags: [],
    ...over,
  });
  const pushed = (tag: string, over: Partial<Extract<Push, { type: "image" }>> = {}): Push => ({
    type: "image",
    repository: "shop/web",
    hub: false,
    tag,
    digest: DIGEST,
    ...over,
  });
  const committed = (ref: string, over: Partial<Extract<Push, { type: "commit" }>> = {}): Push => ({
    type: "commit",
    ref,
    isTag: false,
    sha: SHA,
    isDefault: ref === "main",
    ...over,
  });
  const forge = (over: Partial<HookFilter> = {}) =>
    hook({ source: "github", image: "r.example.com/web:{short_sha}", ...over });
  const current = "r.example.com/shop/web:1.1";
  test.each<[string, Push, HookFilter, string, string | RegExp]>([
    ["another tag", pushed("1.2"), hook(), current, "r.example.com/shop/web:1.2"],
    [
      "the same tag anew, told apart by its digest",
      pushed("1.1"),
      hook(),
      current,
      `r.example.com/shop/web:1.1@${DIGEST}`,
    ],
    ["a tag that is wanted", pushed("v3"), hook({ tags: ["v*"] }), current, "r.example.com/shop/web:v3"],
    ["a tag that is not", pushed("dev"), hook({ tags: ["v*", "1.*"] }), current, /none of v\*, 1\.\*/],
    ["another repository", pushed("1.2", { repository: "shop/api" }), hook(), current, /not the repository/],
    [
      "Docker Hub's, for an image of another registry",
      pushed("1.2", { hub: true }),
      hook(),
      current,
      /not the repository/,
    ],
    ["Docker Hub's", pushed("2", { hub: true, repository: "library/nginx" }), hook(), "nginx:1", "nginx:2"],
    [
      "a registry with a port",
      pushed("2", { repository: "web" }),
      hook(),
      "localhost:5000/web:1",
      "localhost:5000/web:2",
    ],
    ["through a template", pushed("2"), hook({ image: "r/x:{tag}-slim" }), current, "r/x:2-slim"],
    ["the default branch", committed("main"), forge(), current, "r.example.com/web:1a2b3c4"],
    ["another branch", committed("feature"), forge(), current, /not the default branch/],
    [
      "a branch that is wanted",
      committed("release/2"),
      forge({ branches: ["release/*"], image: "r/w:{ref}" }),
      current,
      "r/w:release-2",
    ],
    [
      "a tag, where branches are wanted",
      committed("main", { isTag: true }),
      forge({ branches: ["main"] }),
      current,
      /none of main/,
    ],
    [
      "a wanted Git tag",
      committed("v1.0", { isTag: true }),
      forge({ tags: ["v*"], image: "r/w:{tag}" }),
      current,
      "r/w:v1.0",
    ],
    [
      "a branch for a template of tags",
      committed("main"),
      forge({ image: "r/w:{tag}" }),
      current,
      /nothing for \{tag\}/,
    ],
  ])("%s", (_, push, filter, image, expected) => {
    const wanted = imageFor(push, filter, image);
    if (expected instanceof RegExp) expect(wanted).toEqual({ ignored: expect.stringMatching(expected) });
    else expect(wanted).toEqual({ image: expected });
  });
});

test.each([
  ["nginx", { host: null, repository: "library/nginx", tag: null }],
  ["docker.io/library/nginx:1", { host: null, repository: "library/nginx", tag: "1" }],
  ["org/web:1", { host: null, repository: "org/web", tag: "1" }],
  ["localhost:5000/web", { host: "localhost:5000", repository: "web", tag: null }],
  [`ghcr.io/o/w:1@${DIGEST}`, { host: "ghcr.io", repository: "o/w", tag: "1", digest: DIGEST, name: "ghcr.io/o/w" }],
])("%s in its parts", (image, parts) => expect(parseImage(image)).toMatchObject(parts));

test("patterns: `*` stands for anything, and a wicked one takes no time", () => {
  for (const [pattern, subject, is] of [
    ["main", "main", true],
    ["main", "main2", false],
    ["*", "", true],
    ["v*", "v1.2", true],
    ["v*.2", "v1.2", true],
    ["a*b*c", "axxbyyc", true],
    ["a*b*c", "axxcyyb", false],
    ["ab*ba", "aba", false],
    ["release/*", "release/", true],
    [".*", "x", false],
  ] as const)
    expect(matches(pattern, subject), `${pattern} ${subject}`).toBe(is);
  const from = performance.now();
  expect(matches("*a".repeat(50), `${"a".repeat(100_000)}b`)).toBe(false);
  expect(performance.now() - from).toBeLessThan(2_000);
});

test.each([
  [{ source: "github" as const, image: null }, /no image/],
  [{ source: "github" as const, image: "web:latest" }, /at least one placeholder/],
  [{ source: "gitlab" as const, image: "web:{commit}" }, /\{commit\} is not known/],
  [{ source: "gitea" as const, image: "web: {sha}" }, /form of an image/],
  [{ source: "registry" as const, image: null }, null],
  [{ source: "github" as const, image: "web:{sha}" }, null],
])("%j", (hook, fault) => {
  if (fault === null) expect(imageTemplateFault(hook)).toBeNull();
  else expect(imageTemplateFault(hook)).toMatch(fault);
});

describe("who is believed", () => {
  const secret = "a-secret-of-some-length";
  const body = '{"ref":"refs/heads/main"}';
  const hex = (key: string, text = body) => createHmac("sha256", key).update(text).digest("hex");
  const believed = (source: HookSource, headers: HookHeaders, given: string | null = null, text = body) =>
    isVerified(source, secret, { headers, body: text, given });

  test("GitHub and Gitea by HMAC over the body", async () => {
    expect(await believed("github", { "x-hub-signature-256": `sha256=${hex(secret)}` })).toBe(true);
    expect(await believed("gitea", { "x-gitea-signature": hex(secret) })).toBe(true);
    expect(await believed("gitea", { "x-forgejo-signature": hex(secret) })).toBe(true);
    for (const signature of [
      undefined,
      "",
      "sha256=",
      `sha256=${hex("other")}`,
      `sha256=${hex(secret, "{}")}`,
      `sha1=${hex(secret)}`,
    ])
      expect(await believed("github", signature === undefined ? {} : { "x-hub-signature-256": signature })).toBe(false);
    expect(await believed("github", { "x-hub-signature-256": `sha256=${hex(secret)}` }, null, `${body} `)).toBe(false);
    // Another source's way is no way in.
    expect(await believed("github", { "x-gitlab-token": secret, authorization: `Bearer ${secret}` }, secret)).toBe(
      false,
    );
  });

  test("GitLab and registries by the secret itself", async () => {
    expect(await believed("gitlab", { "x-gitlab-token": secret })).toBe(true);
    expect(await believed("gitlab", { "x-gitlab-token": `${secret}x` })).toBe(false);
    expect(await believed("gitlab", {}, secret)).toBe(false);
    expect(await believed("registry", { authorization: `Bearer ${secret}` })).toBe(true);
    expect(await believed("registry", {}, secret)).toBe(true);
    expect(await believed("registry", { authorization: "Bearer x" }, secret)).toBe(false);
    expect(await believed("registry", {})).toBe(false);
    expect(await believed("registry", {}, "")).toBe(false);
  });

  test("anybody else as Standard Webhooks has it, and not with an old timestamp", async () => {
    const signer = new Webhook(secret, { format: "raw" });
    const signed = (at: number): HookHeaders => ({
      "webhook-id": "m1",
      "webhook-timestamp": String(Math.floor(at / 1000)),
      "webhook-signature": signer.sign("m1", new Date(at), body),
    });
    expect(await believed("generic", signed(Date.now()))).toBe(true);
    expect(await believed("generic", signed(Date.now() - 3_600_000))).toBe(false);
    expect(await believed("generic", { ...signed(Date.now()), "webhook-id": "m2" })).toBe(false);
    expect(await believed("generic", {})).toBe(false);
  });

  test("a delivery's id is the caller's own", () => {
    expect(deliveryIdOf({ "x-github-delivery": "abc-1" })).toBe("abc-1");
    expect(deliveryIdOf({ "x-gitlab-event-uuid": "u" })).toBe("u");
    for (const id of ["", "a b", "x".repeat(101)]) expect(deliveryIdOf({ "x-github-delivery": id })).toBeNull();
    expect(deliveryIdOf({})).toBeNull();
  });
});
