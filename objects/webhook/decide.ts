import { verdict } from "../../contract/action.ts";
import type { Entry } from "../../contract/event.ts";
import {
  type DisabledReason,
  type EndpointState,
  WEBHOOK_ACTION_TABLE,
  WEBHOOK_NEXT,
  type WebhookAction,
  type WebhookStatus,
} from "../../contract/webhook-endpoint.ts";

/** Seconds from one attempt to the next, as Standard Webhooks has them: ten attempts over three days. */
export const RETRY_AFTER_S = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400] as const;
export const MAX_ATTEMPTS = RETRY_AFTER_S.length + 1;
/** After so many failures in a row, whatever their events, one event at a time tries whether the endpoint is back. */
export const BREAKS_AFTER = 5;
const FIRST_PROBE_MS = 5_000;
const LAST_PROBE_MS = 300_000;
/** An endpoint that asks for more patience than this, ms, gets this much. */
export const LONGEST_RETRY_AFTER_MS = 3_600_000;
export const DISABLED_AFTER_MS = 5 * 86_400_000;

export type Facts = { now: number /** In 0..1. */; jitter: number };

/** What one attempt came to. `retry_after_ms`: what a 429 or 503 asked for. */
export type Outcome =
  | { type: "delivered" }
  | { type: "failed"; status: number | null; error: string; retry_after_ms: number | null };

/** What becomes of the event that was attempted. */
export type Fate = { status: "delivered" } | { status: "dead" } | { status: "pending"; due_at: number };

export type EndpointDecision = { state: EndpointState; entries: Entry[] };

export const WELL = { status: "active", failures: 0, failing_since: null, held_until: null } as const;

/** @param attempts how often the event had been tried before this attempt */
export function afterAttempt(
  state: EndpointState,
  attempts: number,
  outcome: Outcome,
  { now, jitter }: Facts,
): EndpointDecision & { fate: Fate; recovered: boolean } {
  if (outcome.type === "delivered") {
    const broken = isBroken(state);
    const back = entry("info", "endpoint_recovered", "the endpoint accepts deliveries again");
    return {
      state: state.status === "active" ? WELL : state,
      entries: broken ? [back] : [],
      fate: { status: "delivered" },
      recovered: broken,
    };
  }
  const delay = RETRY_AFTER_S[attempts];
  const wait = Math.min(outcome.retry_after_ms ?? 0, LONGEST_RETRY_AFTER_MS);
  const fate: Fate =
    delay === undefined
      ? { status: "dead" }
      : { status: "pending", due_at: now + Math.max(Math.round(delay * 1000 * (0.9 + 0.2 * jitter)), wait) };
  const entries: Entry[] = [];
  if (fate.status === "dead")
    entries.push(
      entry("error", "delivery_dead", `an event was given up after ${MAX_ATTEMPTS} attempts: ${outcome.error}`),
    );
  if (state.status !== "active") return { state, entries, fate, recovered: false };

  const failing_since = state.failing_since ?? now;
  const why: DisabledReason | null =
    outcome.status === 410 ? "gone_410" : now - failing_since >= DISABLED_AFTER_MS ? "failing_5_days" : null;
  if (why !== null) {
    const next = disabled(state, why, now);
    return { state: next.state, entries: [...entries, ...next.entries], fate, recovered: false };
  }
  const failures = state.failures + 1;
  const pause =
    failures < BREAKS_AFTER
      ? 0
      : Math.round(Math.min(FIRST_PROBE_MS * 2 ** (failures - BREAKS_AFTER), LAST_PROBE_MS) * (0.9 + 0.2 * jitter));
  const hold = Math.max(pause, wait);
  if (failures === BREAKS_AFTER)
    entries.push(
      entry(
        "warning",
        "endpoint_failing",
        `${failures} attempts in a row failed, the last: ${outcome.error}; one event at a time tries it now`,
      ),
    );
  return {
    state: { status: "active", failures, failing_since, held_until: hold === 0 ? state.held_until : now + hold },
    entries,
    fate,
    recovered: false,
  };
}

/** Whether one event at a time tries the endpoint out, while the others wait. */
export const isBroken = (state: EndpointState): boolean => state.status === "active" && state.failures >= BREAKS_AFTER;

export type Asked = { type: "enable" } | { type: "disable" } | { type: "delete" };

/** What somebody asks of an endpoint: what it becomes, or null when there is nothing to do. Refusals are the action table's. */
export function decideEndpoint(state: EndpointState, { type }: Asked, now: number): EndpointDecision | null {
  if (verdict(WEBHOOK_ACTION_TABLE, state.status, type satisfies WebhookAction) !== "go") return null;
  switch (type) {
    case "enable":
      return moved(state, WELL, "enabled");
    case "disable":
      return disabled(state, "by_user", now);
    case "delete":
      return moved(state, { status: "revoked", at: now }, "revoked");
  }
}

const WHY: Record<DisabledReason, string> = {
  by_user: "disabled on request",
  gone_410: "it answered 410: nothing more is wanted there",
  failing_5_days: "nothing but failures for five days",
};

/** A sentence about where an endpoint stands. */
export function messageOf(state: EndpointState): string {
  if (state.status === "revoked") return "revoked; it is listed for a week";
  if (state.status === "disabled") return `${WHY[state.reason]}; what waits goes on when it is enabled`;
  return isBroken(state)
    ? `${state.failures} attempts in a row failed; one event at a time tries it`
    : "receives events";
}

const disabled = (state: EndpointState, reason: DisabledReason, at: number): EndpointDecision =>
  moved(state, { status: "disabled", reason, at }, WHY[reason]);

function moved(from: EndpointState, to: EndpointState, message: string): EndpointDecision {
  if (!(WEBHOOK_NEXT[from.status] as readonly WebhookStatus[]).includes(to.status))
    throw new Error(`no edge from ${from.status} to ${to.status}`);
  return {
    state: to,
    entries: [
      {
        ...entry(
          to.status === "disabled" && to.reason !== "by_user" ? "error" : "info",
          "state_transition",
          `Status changed from ${from.status} to ${to.status}: ${message}`,
        ),
        data: {
          old_status: from.status,
          new_status: to.status,
          ...(to.status === "disabled" ? { why: to.reason } : {}),
        },
      },
    ],
  };
}

const entry = (level: Entry["level"], reason: string, message: string): Entry => ({
  level,
  component: "webhook",
  reason,
  message,
});
