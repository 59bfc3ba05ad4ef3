import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { describe, expect, test } from "vitest";
import { newId } from "../../contract/id.ts";
import { CLUSTER_SHARD } from "../../objects/projection.ts";
import { ROOT } from "../../src/access.ts";
import type { Received } from "../webhook-receiver.ts";
import { Endpoint, eventOf, mutation, SECRET, until } from "./webhook-endpoint.ts";

const deployment = () => newId("deployment", Date.now());
const ids = (received: Received[]) => received.map(({ headers }) => headers["webhook-id"]);
const verify = (secret: string, { body, headers }: Received) =>
  new Webhook(secret).verify(body, headers as Record<string, string>);

/** Makes what is due later due now, as if that time had come. */
const skipPauses = (endpoint: Endpoint) =>
  runInDurableObject(endpoint.stub, (_, { storage }) => {
    storage.sql.exec("UPDATE event SET due_at = 1 WHERE due_at IS NOT NULL");
    storage.sql.exec("UPDATE webhook SET state = json_set(state, '$.held_until', 1) WHERE status = 'active'");
    storage.sql.exec("INSERT OR REPLACE INTO timer VALUES ('queue', 1)");
  }).then(() => runDurableObjectAlarm(endpoint.stub));

describe("a delivery", () => {
  test("is signed as Standard Webhooks has it, and its attempt is listed", async () => {
    const endpoint = await Endpoint.make({}, { status: 200, body: "thanks\u001b[31m" });
    const id = deployment();
    await endpoint.object.enqueue([eventOf(id, 1)]);
    await until(async () => (await endpoint.deliveries())[0]?.status === "delivered", "delivered");
    const [received] = await endpoint.received();
    expect(verify(SECRET, received as Received)).toMatchObject({
      type: "deployment.status_changed",
      data: { schema_version: 1, deployment_id: id },
    });
    expect(() => verify(`whsec_${"00".repeat(32)}`, received as Received)).toThrow();
    expect(received?.headers).toMatchObject({ "webhook-id": `${id}:1`, "content-type": "application/json" });
    expect(received?.headers).not.toHaveProperty("x-ring-event");
    expect(await endpoint.attempts()).toEqual([
      expect.objectContaining({ event_id: `${id}:1`, outcome: "delivered", status: 200, response: "thanks\ufffd[31m" }),
    ]);
  });

  test("for Ring has the flat payload, its event and its signature", async () => {
    const endpoint = await Endpoint.make({ format: "ring", ring_headers: true });
    const id = deployment();
    await endpoint.object.enqueue([eventOf(id, 1)]);
    await until(async () => (await endpoint.received()).length === 1, "received");
    const [received] = (await endpoint.received()) as [Received];
    expect(JSON.parse(received.body)).toEqual({ schema_version: 1, deployment_id: id, seq: 1 });
    const how = { name: "HMAC", hash: "SHA-256" };
    const encoder = new TextEncoder();
    const key = await crypto.subtle.importKey("raw", encoder.encode(SECRET), how, false, ["sign"]);
    const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(received.body)));
    const hex = Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join("");
    expect(received.headers).toMatchObject({
      "x-ring-event": "deployment.status_changed",
      "x-ring-signature": `sha256=${hex}`,
    });
    verify(SECRET, received);
  });

  test("leaves nothing of the secret in the storage", async () => {
    const endpoint = await Endpoint.make();
    const reply = await endpoint.object.rotate(
      `whsec_${"ab".repeat(32)}`,
      1000,
      mutation({ idempotency: { key: "k", fingerprint: "f" } }),
      ROOT,
    );
    expect(reply.ok && JSON.parse(reply.value.body).secret).toBe(`whsec_${"ab".repeat(32)}`);
    const dump = await runInDurableObject(endpoint.stub, (_, { storage }) =>
      ["webhook", "event", "attempt", "journal", "request", "audit", "outbox"]
        .map((table) => JSON.stringify(storage.sql.exec(`SELECT * FROM ${table}`).toArray()))
        .join("\n"),
    );
    expect(dump).not.toContain("abababab");
    expect(dump).not.toContain(SECRET.slice(6, 20));
  });
});

describe("order", () => {
  test("a failing event holds up the later ones of its resource, and nothing else", async () => {
    const endpoint = await Endpoint.make({}, { status: 500, body: "no" }, {});
    const [failing, fine] = [deployment(), deployment()];
    await endpoint.object.enqueue([eventOf(failing, 1), eventOf(failing, 2), eventOf(failing, 3)]);
    await until(async () => (await endpoint.attempts()).length === 1, "one attempt");
    await endpoint.object.enqueue([eventOf(fine, 1), eventOf(fine, 2)]);
    await until(async () => (await endpoint.attempts()).length === 3, "three attempts");
    expect(ids(await endpoint.received())).toEqual([`${failing}:1`, `${fine}:1`, `${fine}:2`]);
    const waiting = (await endpoint.deliveries()).filter(({ status }) => status === "pending");
    expect(waiting.map(({ id, next_attempt_at }) => [id, next_attempt_at === null])).toEqual([
      [`${failing}:3`, true],
      [`${failing}:2`, true],
      [`${failing}:1`, false],
    ]);
    await skipPauses(endpoint);
    await until(async () => (await endpoint.received()).length === 6, "all");
    expect(ids(await endpoint.received()).slice(3)).toEqual([`${failing}:1`, `${failing}:2`, `${failing}:3`]);
  });

  test("resources go in parallel, each in order, under slow answers", async () => {
    const endpoint = await Endpoint.make({}, { delayMs: 30 });
    const resources = Array.from({ length: 12 }, deployment);
    const events = [1, 2, 3].flatMap((seq) => resources.map((resource) => eventOf(resource, seq)));
    await endpoint.object.enqueue(events);
    await until(async () => (await endpoint.received()).length === events.length, "all", 20_000);
    const seen = ids(await endpoint.received());
    expect(new Set(seen).size).toBe(events.length);
    for (const resource of resources)
      expect(seen.filter((id) => String(id).startsWith(resource))).toEqual(
        [1, 2, 3].map((seq) => `${resource}:${seq}`),
      );
  });

  test("one dead endpoint delays no other", async () => {
    const dead = await Endpoint.make({}, { hang: true });
    const well = await Endpoint.make();
    const events = Array.from({ length: 20 }, () => eventOf(deployment(), 1));
    await dead.object.enqueue(events);
    const from = performance.now();
    await well.object.enqueue(events);
    await until(async () => (await well.received()).length === events.length, "all");
    expect(performance.now() - from).toBeLessThan(5_000);
    expect((await dead.received()).length).toBeLessThanOrEqual(5);
  });
});

describe("what goes wrong", () => {
  test("handed over twice, also after a restart, an event is one", async () => {
    const endpoint = await Endpoint.make();
    const id = deployment();
    await endpoint.object.enqueue([eventOf(id, 1), eventOf(id, 2)]);
    const noted = async () => (await endpoint.deliveries()).filter(({ status }) => status === "delivered").length;
    await until(async () => (await noted()) === 2, "both");
    await evictDurableObject(endpoint.stub);
    await endpoint.object.enqueue([eventOf(id, 1), eventOf(id, 2), eventOf(id, 3)]);
    await until(async () => (await endpoint.received()).length === 3, "the third");
    expect(ids(await endpoint.received())).toEqual([`${id}:1`, `${id}:2`, `${id}:3`]);
  });

  test("a crash between sending and noting it sends again, under the same id", async () => {
    const endpoint = await Endpoint.make();
    const id = deployment();
    await endpoint.object.enqueue([eventOf(id, 1)]);
    await until(async () => (await endpoint.deliveries())[0]?.status === "delivered", "delivered");
    // As a crash before the note had left it: pending, and due since it came.
    await runInDurableObject(endpoint.stub, (_, { storage }) => {
      storage.sql.exec("UPDATE event SET status = 'pending', attempts = 0, due_at = created_at");
      storage.sql.exec("INSERT OR REPLACE INTO timer VALUES ('queue', 1)");
    });
    await evictDurableObject(endpoint.stub);
    await runDurableObjectAlarm(endpoint.stub);
    await until(async () => (await endpoint.received()).length === 2, "again");
    const [first, second] = (await endpoint.received()) as [Received, Received];
    expect(second.body).toBe(first.body);
    expect(ids([first, second])).toEqual([`${id}:1`, `${id}:1`]);
  });

  test("an event that waits has an alarm, and an endpoint at rest has none", async () => {
    const endpoint = await Endpoint.make({}, { status: 503, headers: { "retry-after": "120" } });
    await endpoint.object.enqueue([eventOf(deployment(), 1)]);
    await until(async () => (await endpoint.attempts()).length === 1, "attempt");
    const at = await runInDurableObject(endpoint.stub, (_, { storage }) => storage.getAlarm());
    expect(at).not.toBeNull();
    const [waiting] = await endpoint.deliveries();
    const pause = Date.parse(waiting?.next_attempt_at as string) - Date.now();
    expect(pause).toBeGreaterThan(110_000);
    expect(pause).toBeLessThan(121_000);
    // The whole endpoint is left alone for as long.
    await endpoint.object.enqueue([eventOf(deployment(), 1)]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await endpoint.received()).toHaveLength(1);
  });

  test("redirects are failures that say so, and nothing follows them", async () => {
    const elsewhere = await Endpoint.make();
    const endpoint = await Endpoint.make({}, { status: 307, headers: { location: elsewhere.url } });
    await endpoint.object.enqueue([eventOf(deployment(), 1)]);
    await until(async () => (await endpoint.attempts()).length === 1, "attempt");
    expect(await endpoint.attempts()).toMatchObject([
      { outcome: "failed", status: 307, error: expect.stringMatching(/redirects are not followed/) },
    ]);
    expect(await elsewhere.received()).toEqual([]);
  });

  test("no answer within ten seconds is a failure", { timeout: 20_000 }, async () => {
    const endpoint = await Endpoint.make({}, { hang: true });
    await endpoint.object.enqueue([eventOf(deployment(), 1)]);
    await until(async () => (await endpoint.attempts()).length === 1, "attempt", 15_000);
    const [attempt] = await endpoint.attempts();
    expect(attempt).toMatchObject({ outcome: "failed", status: null, error: "no answer within 10 s" });
    expect(attempt?.latency_ms).toBeGreaterThan(9_900);
  });

  test("410 disables it; enabled again, it goes on where it was", async () => {
    const endpoint = await Endpoint.make({}, { status: 410 }, {});
    const id = deployment();
    await endpoint.object.enqueue([eventOf(id, 1), eventOf(id, 2)]);
    await until(async () => (await endpoint.view()).status === "disabled", "disabled");
    expect(await endpoint.view()).toMatchObject({ reason: "gone_410", allowedActions: { enable: { allowed: true } } });
    // It takes no new ones, and sends none.
    await endpoint.object.enqueue([eventOf(id, 3)]);
    await runDurableObjectAlarm(endpoint.stub);
    expect(await endpoint.received()).toHaveLength(1);
    await endpoint.object.update({}, "active", mutation(), ROOT);
    await until(async () => (await endpoint.received()).length === 3, "both");
    expect(ids(await endpoint.received())).toEqual([`${id}:1`, `${id}:1`, `${id}:2`]);
    expect((await endpoint.reasons()).filter((reason) => reason === "state_transition")).toHaveLength(2);
  });

  test("after five failures in a row one event at a time tries it; once it is back, all go", async () => {
    const endpoint = await Endpoint.make({}, { status: 500 });
    await endpoint.object.enqueue(Array.from({ length: 30 }, () => eventOf(deployment(), 1)));
    await until(async () => (await endpoint.reasons()).includes("endpoint_failing"), "broken");
    await until(async () => (await endpoint.attempts()).length === (await endpoint.received()).length, "landed");
    const before = (await endpoint.received()).length;
    // Those that were on their way when it broke land, and no more.
    expect(before).toBeLessThan(10);
    await skipPauses(endpoint);
    await until(async () => (await endpoint.attempts()).length === before + 1, "one probe");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await endpoint.received()).toHaveLength(before + 1);
    await endpoint.behave({});
    await skipPauses(endpoint);
    await until(async () => (await endpoint.deliveries()).every(({ status }) => status === "delivered"), "all");
    expect(await endpoint.reasons()).toContain("endpoint_recovered");
  });

  test("an attempt without the key of its secret fails, and says so", async () => {
    const endpoint = await Endpoint.make();
    await runInDurableObject(endpoint.stub, (_, { storage }) =>
      storage.sql.exec(
        "UPDATE webhook SET secrets = replace(secrets, ?, 'lampseal1.lost.')",
        `lampseal1.${env.SECRET_KEYS?.split(":")[0]}.`,
      ),
    );
    await endpoint.object.enqueue([eventOf(deployment(), 1)]);
    await until(async () => (await endpoint.attempts()).length === 1, "attempt");
    expect((await endpoint.attempts())[0]?.error).toMatch(/key lost/);
    expect(await endpoint.received()).toEqual([]);
  });
});

test("the lists learn how many deliveries there are of each status", async () => {
  // Of this one alone: others tell theirs meanwhile.
  const counted = async () =>
    Object.fromEntries(
      await runInDurableObject(env.INDEX.getByName(CLUSTER_SHARD), (_, { storage }) =>
        storage.sql
          .exec<{ word: string; count: number }>(
            "SELECT word, count FROM tally WHERE kind = 'webhook' AND id = ?",
            endpoint.id,
          )
          .toArray()
          .map(({ word, count }) => [word, count]),
      ),
    ) as Record<string, number>;
  const tell = async (endpoint: Endpoint) => {
    await runInDurableObject(endpoint.stub, (_, { storage }) =>
      storage.sql.exec("UPDATE timer SET due_at = 1 WHERE name = 'tally'"),
    );
    await runDurableObjectAlarm(endpoint.stub);
  };
  const endpoint = await Endpoint.make({}, { status: 204 }, { status: 500 });
  const id = deployment();
  await endpoint.object.enqueue([eventOf(id, 1), eventOf(id, 2), eventOf(id, 3)]);
  await until(async () => (await endpoint.attempts()).length === 2, "one delivered, one failed");
  await tell(endpoint);
  await until(async () => (await counted()).pending === 2, "two wait");
  expect(await counted()).toEqual({ pending: 2, delivered: 1 });
  await runInDurableObject(endpoint.stub, (_, { storage }) =>
    storage.sql.exec("UPDATE event SET status = 'dead', due_at = NULL WHERE status = 'pending'"),
  );
  await endpoint.object.ping(mutation(), ROOT);
  await tell(endpoint);
  await until(async () => (await counted()).dead === 3, "given up, the failed ping with them");
  expect(await counted()).toEqual({ delivered: 1, dead: 3 });
});

describe("asked for", () => {
  test("a rotation's overlap signs with both secrets, then with the new one", async () => {
    const endpoint = await Endpoint.make();
    const second = `whsec_${"cd".repeat(32)}`;
    await endpoint.object.rotate(second, 60_000, mutation(), ROOT);
    await endpoint.object.enqueue([eventOf(deployment(), 1)]);
    await until(async () => (await endpoint.received()).length === 1, "first");
    const [both] = (await endpoint.received()) as [Received];
    verify(SECRET, both);
    verify(second, both);
    await runInDurableObject(endpoint.stub, (_, { storage }) => {
      storage.sql.exec("UPDATE webhook SET secrets = json_set(secrets, '$[1].until', 1)");
      storage.sql.exec("UPDATE timer SET due_at = 1 WHERE name = 'secrets'");
    });
    await runDurableObjectAlarm(endpoint.stub);
    expect(await endpoint.view()).toMatchObject({ secrets: 1 });
    await endpoint.object.enqueue([eventOf(deployment(), 1)]);
    await until(async () => (await endpoint.received()).length === 2, "second");
    const [, one] = (await endpoint.received()) as [Received, Received];
    verify(second, one);
    expect(() => verify(SECRET, one)).toThrow();
  });

  test("redelivery sends one, a range, or all that were given up, under the same ids", async () => {
    const endpoint = await Endpoint.make();
    const id = deployment();
    await endpoint.object.enqueue([eventOf(id, 1), eventOf(id, 2), eventOf(id, 3)]);
    await until(async () => (await endpoint.received()).length === 3, "three");
    await until(async () => (await endpoint.deliveries()).every(({ status }) => status === "delivered"), "noted");
    const again = async (which: Parameters<typeof endpoint.object.redeliver>[0]) => {
      const reply = await endpoint.object.redeliver(which, mutation(), ROOT);
      return reply.ok ? JSON.parse(reply.value.body).redelivered : reply.refusal.code;
    };
    expect(await again({ event_id: `${id}:2` })).toBe(1);
    await until(async () => (await endpoint.received()).length === 4, "one again");
    expect(await again({ event_id: `${id}:9` })).toBe("not_found");
    expect(await again({ failed: true })).toBe(0);
    await until(async () => (await endpoint.deliveries()).every(({ status }) => status === "delivered"), "noted");
    expect(await again({ since: 0, until: Date.now() })).toBe(3);
    await until(async () => (await endpoint.received()).length === 7, "all again");
    expect(ids(await endpoint.received()).slice(3)).toEqual([`${id}:2`, `${id}:1`, `${id}:2`, `${id}:3`]);
  });

  test("a ping says at once what came of it, and counts for nothing", async () => {
    const endpoint = await Endpoint.make({ events: ["host.*"] }, { status: 500, body: "not yet" }, { status: 200 });
    const ping = async () => {
      const reply = await endpoint.object.ping(mutation(), ROOT);
      return reply.ok ? JSON.parse(reply.value) : reply.refusal;
    };
    expect(await ping()).toMatchObject({ kind: "webhook.ping", outcome: "failed", status: 500, response: "not yet" });
    expect(await ping()).toMatchObject({ outcome: "delivered", status: 200 });
    expect(await endpoint.view()).toMatchObject({ status: "active", failing_since: null });
    const [received] = (await endpoint.received()) as [Received];
    expect(verify(SECRET, received)).toMatchObject({ type: "webhook.ping", data: { webhook_id: endpoint.id } });
  });

  test("revoked, it sends nothing more, and is forgotten after a week", async () => {
    const endpoint = await Endpoint.make({}, { status: 500 });
    await endpoint.object.enqueue([eventOf(deployment(), 1)]);
    await until(async () => (await endpoint.attempts()).length === 1, "attempt");
    expect(await endpoint.object.revoke(mutation(), ROOT)).toMatchObject({ ok: true, value: { status: 204 } });
    await skipPauses(endpoint);
    expect(await endpoint.received()).toHaveLength(1);
    expect(await endpoint.view()).toMatchObject({ status: "revoked", revoked_at: expect.any(String) });
    expect(await endpoint.object.update({}, "active", mutation(), ROOT)).toMatchObject({
      ok: false,
      refusal: { code: "action_not_allowed" },
    });
    await runInDurableObject(endpoint.stub, (_, { storage }) => {
      storage.sql.exec("UPDATE webhook SET state = json_set(state, '$.at', 1)");
      storage.sql.exec("UPDATE timer SET due_at = 1 WHERE name = 'forget'");
    });
    await runDurableObjectAlarm(endpoint.stub);
    expect(await endpoint.object.read(ROOT)).toMatchObject({ ok: false, refusal: { code: "not_found" } });
  });

  test("is forgotten only when the lists know it", async () => {
    const endpoint = await Endpoint.make({});
    await endpoint.object.revoke(mutation(), ROOT);
    const stored = () =>
      runInDurableObject(endpoint.stub, (_, { storage }) =>
        storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'webhook'").toArray(),
      );
    const listed = () =>
      runInDurableObject(env.INDEX.getByName(CLUSTER_SHARD), (_, { storage }) =>
        storage.sql.exec("SELECT 1 FROM entry WHERE id = ? AND gone_at IS NULL", endpoint.id).toArray(),
      );
    await runInDurableObject(endpoint.stub, (object, { storage }) => {
      storage.sql.exec("UPDATE webhook SET state = json_set(state, '$.at', 1)");
      storage.sql.exec("UPDATE timer SET due_at = 1 WHERE name = 'forget'");
      const away = { getByName: () => ({ project: () => Promise.reject(new Error("away")) }) };
      Object.assign(object, { env: { ...env, INDEX: away } });
    });
    await runDurableObjectAlarm(endpoint.stub);
    expect([await stored(), await listed()]).toMatchObject([{ length: 1 }, { length: 1 }]);
    // The next instance of it finds the index again.
    await evictDurableObject(endpoint.stub);
    await runInDurableObject(endpoint.stub, (_, { storage }) => storage.sql.exec("UPDATE outbox SET due_at = 1"));
    await runDurableObjectAlarm(endpoint.stub);
    expect([await stored(), await listed()]).toMatchObject([{ length: 0 }, { length: 0 }]);
  });
});
