import { describe, expect, inject, it } from "vitest";
import { WebhookCreated, WebhookView } from "../../contract/webhook-endpoint.ts";
import { fresh, type Got, makeToken, request, type Sent } from "./client.ts";

const address = (name: string = crypto.randomUUID()) => `${inject("receiver")}/r/${name}`;
type Refusal = { code: string; violations: { property_path: string; message: string; code: string }[] };

async function make(body: Record<string, unknown> = {}, sent: Sent = {}): Promise<WebhookCreated> {
  const made = await request("POST", "/webhooks", { body: { url: address(), ...body }, ...sent });
  if (made.status !== 201) throw new Error(made.text);
  return WebhookCreated.parse(made.body);
}

const refused = async (body: unknown, sent: Sent = {}) =>
  (await request<Refusal>("POST", "/webhooks", { body, ...sent })) as Got<Refusal>;

describe("making a webhook", () => {
  it("answers as Ring does, with the secret, which is shown nowhere else", async () => {
    const made = await request("POST", "/v1/webhooks", { body: { url: address(), events: ["deployment.*"] } });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ events: ["deployment.*"], message: expect.any(String) });
    const { id, secret } = WebhookCreated.parse(made.body);
    expect(secret).toMatch(/^whsec_[0-9a-f]{64}$/);
    expect(made.headers.get("location")).toBe(`/v1/webhooks/${id}`);
    const read = await request("GET", `/webhooks/${id}`);
    WebhookView.parse(read.body);
    expect(read.text).not.toContain(secret);
    // It is in the list as soon as it is answered.
    const listed = await request<WebhookView[]>("GET", "/webhooks?limit=1000");
    expect(listed.body.find((one) => one.id === id)).toMatchObject({ status: "active", revoked_at: null });
    expect(listed.text).not.toContain(secret);
  });

  it("with an Idempotency-Key is done once, and answered the same, secret and all, also after a rotation", async () => {
    const sent = { body: { url: address() }, headers: { "idempotency-key": crypto.randomUUID() } };
    const first = await request("POST", "/webhooks", sent);
    await request("POST", `/webhooks/${first.body.id}/rotate-secret`, { body: { overlap: "0s" } });
    const again = await request("POST", "/webhooks", sent);
    expect([again.status, again.text]).toEqual([201, first.text]);
    const other = await request("POST", "/webhooks", { ...sent, body: { url: address() } });
    expect([other.status, other.body.code]).toEqual([422, "idempotency_key_reused"]);
  });

  it("takes a secret of one's own: Standard Webhooks' or any text", async () => {
    for (const secret of [`whsec_${btoa("x".repeat(32))}`, "correct-horse-battery"])
      expect((await make({ secret })).secret).toBe(secret);
  });

  it.each([
    [{}, "url", "required"],
    [{ url: "ftp://example.com" }, "url", "webhook.url.format"],
    [{ url: "https://user:pass@example.com" }, "url", "webhook.url.format"],
    [{ url: "" }, "url", "webhook.url.format"],
    [{ url: "https://a.example", events: ["deployment*"] }, "events[0]", "webhook.events.unknown"],
    [{ url: "https://a.example", events: ["*", "deployment.stopped"] }, "events[1]", "webhook.events.unknown"],
    [{ url: "https://a.example", events: ["nothing.x"] }, "events[0]", "webhook.events.unknown"],
    [{ url: "https://a.example", secret: "short" }, "secret", "webhook.secret.format"],
    [{ url: "https://a.example", secret: "whsec_not/base64!" }, "secret", "webhook.secret.format"],
    [{ url: "https://a.example", secret: "whsec_aGk=" }, "secret", "webhook.secret.format"],
    [{ url: "https://a.example", event: ["*"] }, "event", "unknown_field"],
    [{ url: "https://a.example", format: "xml" }, "format", "invalid_value"],
  ])("%j is refused", async (body, property_path, code) => {
    const { status, body: problem } = await refused(body);
    expect(status).toBe(422);
    expect(problem.violations).toContainEqual(expect.objectContaining({ property_path, code }));
  });

  it("tells of everything that is wrong at once, and says what kind of wrong each filter is", async () => {
    const { body } = await refused({
      url: "https://a.example",
      secret: "x",
      events: ["deploy.*", "deployment.status_*", "cluster.x", "deployment.nothing"],
    });
    expect(body.violations.map(({ property_path }) => property_path)).toEqual([
      "secret",
      "events[0]",
      "events[1]",
      "events[2]",
      "events[3]",
    ]);
    expect(
      body.violations.map(({ message }) => /wildcard|family '\w+'; there|has no event/.exec(message)?.[0]),
    ).toEqual([undefined, "wildcard", "wildcard", "family 'cluster'; there", "has no event"]);
  });
});

describe("who may", () => {
  it("needs webhooks:write to make one and webhooks:read to look", async () => {
    const { token } = await makeToken(["deployments:write"]);
    for (const [method, path] of [
      ["POST", "/webhooks"],
      ["GET", "/webhooks"],
    ] as const) {
      const answer = await request(method, path, { token, ...(method === "POST" ? { body: {} } : {}) });
      expect([answer.status, answer.body.code]).toEqual([403, "insufficient_scope"]);
    }
  });

  it("a token for namespaces sees and makes only what tells of them", async () => {
    const { token } = await makeToken(["webhooks:read", "webhooks:write"], { namespaces: ["shop"] });
    const all = await make();
    const mixed = await make({ namespaces: ["shop", "bank"] });
    const mine = await make({ namespaces: ["shop"] }, { token });
    for (const { id } of [all, mixed]) {
      for (const [method, path, body] of [
        ["GET", `/webhooks/${id}`],
        ["GET", `/webhooks/${id}/events`],
        ["GET", `/webhooks/${id}/attempts`],
        ["GET", `/webhooks/${id}/journal`],
        ["DELETE", `/webhooks/${id}`],
        ["POST", `/webhooks/${id}/ping`],
        ["PATCH", `/webhooks/${id}`, { description: "x" }],
        ["POST", `/webhooks/${id}/redeliver`, { failed: true }],
        ["POST", `/webhooks/${id}/rotate-secret`, {}],
      ] as const) {
        const answer = await request(method, path, { token, ...(body === undefined ? {} : { body }) });
        expect([method, path, answer.status]).toEqual([method, path, 404]);
      }
    }
    const listed = await request<WebhookView[]>("GET", "/webhooks", { token });
    expect(listed.body.map(({ id }) => id)).toEqual([mine.id]);
    for (const namespaces of [undefined, [], ["bank"], ["shop", "bank"]]) {
      const answer = await refused({ url: address(), ...(namespaces ? { namespaces } : {}) }, { token });
      expect([answer.status, answer.body.code]).toEqual([403, "namespace_not_permitted"]);
      if (namespaces === undefined) continue;
      const wider = await request("PATCH", `/webhooks/${mine.id}`, { token, body: { namespaces } });
      expect(wider.status).toBe(403);
    }
  });
});

describe("changing one", () => {
  it("changes what is named, under If-Match, and leaves an audit entry", async () => {
    const { id, url } = await make({ events: ["deployment.*"] });
    const patched = await request("PATCH", `/webhooks/${id}`, {
      body: { events: ["deployment.error"], description: "errors" },
      headers: { "if-match": '"r1"' },
    });
    expect(patched.body).toMatchObject({ url, events: ["deployment.error"], description: "errors", revision: 2 });
    expect(
      (await request("PATCH", `/webhooks/${id}`, { body: { url: address() }, headers: { "if-match": '"r1"' } })).status,
    ).toBe(412);
    expect((await request("PATCH", `/webhooks/${id}`, { body: { events: ["nope"] } })).status).toBe(422);
    const off = await request("PATCH", `/webhooks/${id}`, { body: { status: "disabled" } });
    expect(off.body).toMatchObject({ status: "disabled", reason: "by_user", revision: 3 });
    const already = await request("PATCH", `/webhooks/${id}`, { body: { status: "disabled" } });
    expect(already.body).toMatchObject({ status: "disabled", revision: 3 });
    const listed = await request<WebhookView[]>("GET", "/webhooks?status=disabled&limit=1000");
    expect(listed.body.map((one) => one.id)).toContain(id);
    const trail = await request<{ action: string }[]>("GET", `/audit?resource_id=${id}`);
    expect(trail.body.map(({ action }) => action)).toEqual(["update", "update", "create"]);
  });

  it("revoking is 204, again too; then only looking is possible", async () => {
    const { id } = await make();
    expect((await request("DELETE", `/webhooks/${id}`)).status).toBe(204);
    expect((await request("DELETE", `/webhooks/${id}`)).status).toBe(204);
    const listed = await request<WebhookView[]>("GET", "/webhooks?limit=1000");
    expect(listed.body.find((one) => one.id === id)).toMatchObject({
      status: "revoked",
      revoked_at: expect.any(String),
    });
    const enabled = await request("PATCH", `/webhooks/${id}`, { body: { status: "active" } });
    expect([enabled.status, enabled.body.code, enabled.body.resource_status]).toEqual([
      409,
      "action_not_allowed",
      "revoked",
    ]);
  });

  it("rotates the secret with an overlap", async () => {
    const { id, secret } = await make();
    const rotated = await request("POST", `/webhooks/${id}/rotate-secret`, { body: { overlap: "1h" } });
    expect([rotated.status, rotated.body.secrets]).toEqual([201, 2]);
    expect(rotated.body.secret).not.toBe(secret);
    expect((await request("POST", `/webhooks/${id}/rotate-secret`, { body: { overlap: "0s" } })).body.secrets).toBe(1);
    const wrong = await request<Refusal>("POST", `/webhooks/${id}/rotate-secret`, { body: { overlap: "30d" } });
    expect(wrong.body.violations).toMatchObject([{ property_path: "overlap", code: "webhook.overlap.format" }]);
  });
});

it("a ping is answered with its attempt, and is among events and attempts", async () => {
  // What happens to the hosts of other files is not for it.
  const { id } = await make({ namespaces: [fresh("ping")] });
  const ping = await request("POST", `/webhooks/${id}/ping`);
  expect(ping.body).toMatchObject({ kind: "webhook.ping", outcome: "delivered", status: 204 });
  const events = await request("GET", `/webhooks/${id}/events`);
  expect(events.body).toMatchObject([
    { kind: "webhook.ping", status: "delivered", attempts: 1, payload: expect.any(String) },
  ]);
  const attempts = await request("GET", `/webhooks/${id}/attempts?event_id=${ping.body.event_id}`);
  expect(attempts.body).toEqual([ping.body]);
});

it("an unknown id is 404 everywhere", async () => {
  const id = "whk_01k9j60a4c8e2g6j0m4p8r2t6v";
  for (const path of ["", "/events", "/attempts", "/journal"])
    expect((await request("GET", `/webhooks/${id}${path}`)).status).toBe(404);
  expect((await request("GET", "/webhooks/nonsense")).status).toBe(404);
  expect((await request("DELETE", `/webhooks/${id}`)).status).toBe(404);
});
