import { describe, expect, test } from "vitest";
import type { Entry, JournalEvent } from "../../contract/event.ts";
import {
  eventFilterFault,
  isTold,
  TOLD,
  type WebhookSource,
  wants,
  webhookBody,
  webhookEventOf,
} from "../../contract/webhook.ts";
import {
  type EndpointState,
  WEBHOOK_ACTION_TABLE,
  WEBHOOK_ACTIONS,
  WEBHOOK_NEXT,
  WEBHOOK_STATUSES,
} from "../../contract/webhook-endpoint.ts";
import {
  afterAttempt,
  BREAKS_AFTER,
  DISABLED_AFTER_MS,
  decideEndpoint,
  isBroken,
  LONGEST_RETRY_AFTER_MS,
  MAX_ATTEMPTS,
  type Outcome,
  RETRY_AFTER_S,
  WELL,
} from "../../objects/webhook/decide.ts";
import { harmless, retryAfter } from "../../objects/webhook/send.ts";

const deployment: WebhookSource = {
  family: "deployment",
  id: "dep_1",
  namespace: "shop",
  name: "web",
  type: "worker",
  labels: { tier: "front" },
};
const entry = (reason: string, data: Record<string, unknown> = {}, message = "as it is"): JournalEvent => ({
  id: "dep_1:7",
  seq: 7,
  resource_id: "dep_1",
  timestamp: "2026-11-21T09:30:01.412Z",
  level: "info",
  component: "scheduler",
  reason,
  message,
  actor: "agent",
  revision: 3,
  data,
});
const COMMON = {
  schema_version: 1,
  deployment_id: "dep_1",
  namespace: "shop",
  name: "web",
  kind: "worker",
  seq: 7,
  revision: 3,
  actor: "agent",
};

describe("what webhooks are told of a deployment's journal", () => {
  test.each([
    [
      "state_transition",
      { old_status: "creating", new_status: "running", restart_count: 2, slot: 1 },
      "deployment.status_changed",
      { old_status: "creating", new_status: "running", restart_count: 2 },
    ],
    [
      "health_check_instance_restart",
      { instance_id: "dep_1-0-g1", action: "restart", check: 0 },
      "deployment.health_check_failed",
      { instance_id: "dep_1-0-g1", action: "restart", message: "as it is" },
    ],
    [
      "health_check_stop",
      { instance_id: "i", action: "stop" },
      "deployment.health_check_failed",
      { instance_id: "i", action: "stop", message: "as it is" },
    ],
    [
      "health_check_alert",
      { instance_id: "i", action: "alert" },
      "deployment.health_check_failed",
      { instance_id: "i", action: "alert", message: "as it is" },
    ],
    [
      "rolling_update_step",
      { parent_id: "dep_0", phase: "step", drained_instance_id: "dep_0-1-g4" },
      "deployment.rolling_update",
      { parent_id: "dep_0", phase: "step", drained_instance_id: "dep_0-1-g4" },
    ],
    [
      "rolling_update_complete",
      { parent_id: "dep_0", phase: "complete" },
      "deployment.rolling_update",
      { parent_id: "dep_0", phase: "complete", drained_instance_id: null },
    ],
    [
      "force_replace",
      { parent_id: "dep_0", phase: "complete" },
      "deployment.rolling_update",
      { parent_id: "dep_0", phase: "complete", drained_instance_id: null },
    ],
    [
      "scale_up",
      { direction: "up", instance_count: 4, replicas: 2 },
      "deployment.scaled",
      { direction: "up", instance_count: 4, replicas: 2 },
    ],
    [
      "scale_down",
      { direction: "down", instance_count: 2, replicas: 2 },
      "deployment.scaled",
      { direction: "down", instance_count: 2, replicas: 2 },
    ],
    [
      "image_not_found",
      { kind: "image_pull_back_off" },
      "deployment.error",
      { reason: "image_pull_back_off", category: "user", message: "as it is" },
    ],
    [
      "bind_source_missing",
      { kind: "create_container_error" },
      "deployment.error",
      { reason: "instance_creation_failed", category: "transient", message: "as it is" },
    ],
    [
      "network_create_failed",
      { kind: "network_error" },
      "deployment.error",
      { reason: "network_creation_failed", category: "transient", message: "as it is" },
    ],
    [
      "insufficient_resources",
      {},
      "deployment.error",
      { reason: "insufficient_resources", category: "host", message: "as it is" },
    ],
    [
      "secret_resolution_error",
      {},
      "deployment.error",
      { reason: "config_error", category: "user", message: "as it is" },
    ],
    [
      "instance_oom",
      { slot: 0 },
      "deployment.error",
      { reason: "instance_oom", category: "user", message: "as it is" },
    ],
  ])("%s %j is %s", (reason, data, type, told) => {
    const event = webhookEventOf(entry(reason, data), deployment);
    expect(event).toMatchObject({ id: "dep_1:7", type, resource: "dep_1", namespace: "shop" });
    expect(event?.data).toEqual({ ...COMMON, ...told });
  });

  test.each(["deployment_created", "instance_running", "restart_count_reset", "toString", "constructor", "__proto__"])(
    "%s is none of their business",
    (reason) => {
      expect(webhookEventOf(entry(reason), deployment)).toBeNull();
      expect(isTold("deployment", entry(reason) as Entry)).toBe(false);
    },
  );

  test("every reason of the table is told, and never an id that Standard Webhooks forbids", () => {
    for (const reason of Object.keys(TOLD)) {
      const event = webhookEventOf(entry(reason), deployment);
      expect(event?.type).toMatch(/^deployment\.[a-z_]+$/);
      expect(eventFilterFault(event?.type ?? "")).toBeNull();
      expect(event?.id).not.toContain(".");
    }
  });
});

test("a host's transitions are told without what a deployment has, and its other events are not", () => {
  const host: WebhookSource = { ...deployment, family: "host", id: "host_1", namespace: null, type: "" };
  const event = webhookEventOf(entry("state_transition", { old_status: "ready", new_status: "lost" }), host);
  expect(event).toMatchObject({ type: "host.status_changed", namespace: null });
  expect(event?.data).toEqual({
    schema_version: 1,
    host_id: "host_1",
    name: "web",
    old_status: "ready",
    new_status: "lost",
    seq: 7,
    revision: 3,
    actor: "agent",
  });
  expect(webhookEventOf(entry("scale_up"), host)).toBeNull();
});

test("the body is an envelope, or flat for Ring", () => {
  const event = webhookEventOf(entry("scale_up", { direction: "up", instance_count: 4, replicas: 2 }), deployment);
  if (event === null) throw new Error("not told");
  const { type, timestamp, data } = event;
  expect(JSON.parse(webhookBody(event, "standard"))).toEqual({ type, timestamp, data });
  expect(JSON.parse(webhookBody(event, "ring"))).toEqual(data);
});

describe("filters", () => {
  test.each([
    ["*", null],
    ["deployment.*", null],
    ["host.*", null],
    ["deployment.status_changed", null],
    ["webhook.ping", null],
    ["deployment*", /no wildcard/],
    ["*.status_changed", /no wildcard/],
    ["deploy.*", /no wildcard/],
    ["deployment.status_*", /no wildcard/],
    ["deploy.status_changed", /no family 'deploy'/],
    ["deployment.stopped", /no event 'stopped'/],
    ["deployment", /no event ''/],
    ["", /no family/],
    ["constructor.x", /no family/],
  ])("%j", (filter, fault) => {
    if (fault === null) expect(eventFilterFault(filter)).toBeNull();
    else expect(eventFilterFault(filter)).toMatch(fault);
  });

  const event = { type: "deployment.error", namespace: "shop", labels: { tier: "front", team: "a" } } as const;
  test.each([
    [{}, true],
    [{ events: ["*"] }, true],
    [{ events: ["deployment.*"] }, true],
    [{ events: ["deployment.error", "host.*"] }, true],
    [{ events: ["host.*"] }, false],
    [{ namespaces: ["shop", "bank"] }, true],
    [{ namespaces: ["bank"] }, false],
    [{ labels: { tier: "front" } }, true],
    [{ labels: { tier: "front", team: "b" } }, false],
    [{ labels: { other: "x" } }, false],
  ])("%j: %s", (filter, wanted) => {
    expect(wants({ events: [], namespaces: [], labels: {}, ...filter }, event)).toBe(wanted);
  });

  test("what is in no namespace is for those that are limited to none", () => {
    const host = { ...event, type: "host.status_changed", namespace: null } as const;
    expect(wants({ events: [], namespaces: ["shop"], labels: {} }, host)).toBe(false);
    expect(wants({ events: [], namespaces: [], labels: {} }, host)).toBe(true);
  });
});

const NOW = Date.UTC(2100, 0, 1);
const facts = { now: NOW, jitter: 0.5 };
const failure = (over: Partial<Extract<Outcome, { type: "failed" }>> = {}): Outcome => ({
  type: "failed",
  status: 500,
  error: "answered 500",
  retry_after_ms: null,
  ...over,
});

describe("an attempt", () => {
  test("is made again after 5 s, 5 min, … 24 h, ten times over three days, each within a tenth", () => {
    let total = 0;
    for (let attempts = 0; attempts < MAX_ATTEMPTS - 1; attempts++) {
      const pauses = [0, 0.5, 1].map((jitter) => {
        const { fate } = afterAttempt(WELL, attempts, failure(), { now: NOW, jitter });
        return fate.status === "pending" ? fate.due_at - NOW : Number.NaN;
      });
      const seconds = RETRY_AFTER_S[attempts] as number;
      expect(pauses).toEqual([seconds * 900, seconds * 1000, seconds * 1100]);
      total += seconds;
    }
    expect(total / 3600).toBeCloseTo(75.6, 1);
    const last = afterAttempt(WELL, MAX_ATTEMPTS - 1, failure(), facts);
    expect(last.fate).toEqual({ status: "dead" });
    expect(last.entries.map(({ reason }) => reason)).toEqual(["delivery_dead"]);
  });

  test("that was asked to wait waits, but no longer than an hour, and holds the whole endpoint", () => {
    const asked = (retry_after_ms: number) => afterAttempt(WELL, 0, failure({ status: 429, retry_after_ms }), facts);
    expect(asked(60_000)).toMatchObject({ fate: { due_at: NOW + 60_000 }, state: { held_until: NOW + 60_000 } });
    expect(asked(1_000)).toMatchObject({ fate: { due_at: NOW + 5_000 }, state: { held_until: NOW + 1_000 } });
    expect(asked(1e12)).toMatchObject({ fate: { due_at: NOW + LONGEST_RETRY_AFTER_MS } });
  });

  test("that succeeds makes everything well", () => {
    const ill: EndpointState = { status: "active", failures: 9, failing_since: 1, held_until: 2 };
    expect(afterAttempt(ill, 3, { type: "delivered" }, facts)).toMatchObject({
      state: WELL,
      fate: { status: "delivered" },
      recovered: true,
    });
    expect(afterAttempt(WELL, 0, { type: "delivered" }, facts)).toMatchObject({ entries: [], recovered: false });
  });
});

test("the breaker opens after five failures in a row, says so once, and tries ever more rarely, every five minutes at last", () => {
  let state: EndpointState = WELL;
  const told: string[] = [];
  const holds: number[] = [];
  for (let i = 0; i < 20; i++) {
    const decision = afterAttempt(state, 0, failure(), facts);
    state = decision.state;
    told.push(...decision.entries.map(({ reason }) => reason));
    expect(isBroken(state)).toBe(i + 1 >= BREAKS_AFTER);
    if (state.status === "active" && state.held_until !== null) holds.push(state.held_until - NOW);
  }
  expect(told).toEqual(["endpoint_failing"]);
  expect(holds.slice(0, 7)).toEqual([5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000]);
  expect(new Set(holds.slice(6))).toEqual(new Set([300_000]));
});

describe("an endpoint is disabled", () => {
  test("by 410, with an event, and the event that met it waits", () => {
    const { state, fate, entries } = afterAttempt(WELL, 0, failure({ status: 410 }), facts);
    expect(state).toEqual({ status: "disabled", reason: "gone_410", at: NOW });
    expect(fate.status).toBe("pending");
    expect(entries).toMatchObject([{ reason: "state_transition", data: { new_status: "disabled", why: "gone_410" } }]);
  });

  test("by five days of nothing but failures, and not a moment before", () => {
    const since = (failing_since: number): EndpointState => ({
      status: "active",
      failures: 40,
      failing_since,
      held_until: null,
    });
    expect(afterAttempt(since(NOW - DISABLED_AFTER_MS + 1), 2, failure(), facts).state.status).toBe("active");
    expect(afterAttempt(since(NOW - DISABLED_AFTER_MS), 2, failure(), facts).state).toEqual({
      status: "disabled",
      reason: "failing_5_days",
      at: NOW,
    });
  });

  test("and what lands after that changes only its own event", () => {
    const off: EndpointState = { status: "disabled", reason: "by_user", at: 1 };
    expect(afterAttempt(off, 0, failure({ status: 410 }), facts)).toMatchObject({ state: off, entries: [] });
    expect(afterAttempt(off, 0, { type: "delivered" }, facts)).toMatchObject({
      state: off,
      fate: { status: "delivered" },
    });
  });
});

test("statuses and actions: every cell of the table, and every edge is one that is listed", () => {
  const states: Record<string, EndpointState> = {
    active: WELL,
    disabled: { status: "disabled", reason: "by_user", at: 1 },
    revoked: { status: "revoked", at: 1 },
  };
  const seen = WEBHOOK_STATUSES.map((status) =>
    (["enable", "disable", "delete"] as const).map((type) => {
      const next = decideEndpoint(states[status] as EndpointState, { type }, NOW);
      if (next) expect(WEBHOOK_NEXT[status]).toContain(next.state.status);
      return next?.state.status ?? "-";
    }),
  );
  expect(seen).toEqual([
    ["-", "disabled", "revoked"],
    ["active", "-", "revoked"],
    ["-", "-", "-"],
  ]);
  for (const action of WEBHOOK_ACTIONS) expect(WEBHOOK_ACTION_TABLE[action].from).not.toContain("revoked");
});

test("Retry-After is seconds or a date", () => {
  expect(retryAfter("120", NOW)).toBe(120_000);
  expect(retryAfter(new Date(NOW + 90_000).toUTCString(), NOW)).toBe(90_000);
  expect(retryAfter(new Date(NOW - 90_000).toUTCString(), NOW)).toBe(0);
  for (const text of [null, "soon", "-5", "1e9"]) expect(retryAfter(text, NOW)).toBeNull();
});

test("what an endpoint answers does nothing to a terminal", () => {
  expect(harmless("a\u001b[2Jb\u0000c\nd\te\u202ef\u009bg")).toBe("a\ufffd[2Jb\ufffdc\nd\te\ufffdf\ufffdg");
});
