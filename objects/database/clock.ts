import { DATABASE_DEADLINES } from "../../contract/database.ts";
import type { DatabaseState } from "../../contract/database-state.ts";
import { QUIESCE_WITHIN_MS } from "../../contract/gateway.ts";
import { WRITER_LEASE_MS } from "../../contract/writer.ts";
import { WRITER_LEASE_MARGIN_MS } from "../../contract/writer-task.ts";

/** Nothing that is waited for is further off than this, ms. */
const LONGEST_LOOK_MS = 60_000;
const LONGEST_RETRY_MS = 60_000;
const LONGEST_LEASE_MS = WRITER_LEASE_MS + WRITER_LEASE_MARGIN_MS;

/**
 * The state as it is on a clock that may have been set back: what was written as "in a moment" then must not become "in an hour". A moment that is
 * said to have been is never in the future.
 */
export function onThisClock(state: DatabaseState, now: number): DatabaseState {
  const leaving = state.leaving.map((one) => ({
    ...one,
    lease_until: one.lease_until === null ? null : Math.min(one.lease_until, now + LONGEST_LEASE_MS),
  }));
  const since = Math.min(state.since, now);
  switch (state.status) {
    case "creating": {
      const wake = state.wake && { ...state.wake, at: Math.min(state.wake.at, now) };
      return { ...state, leaving, since, wake };
    }
    case "stopped":
      return { ...state, leaving, since };
    case "booting": {
      const wake = { ...state.wake, at: Math.min(state.wake.at, now) };
      return {
        ...state,
        leaving,
        since,
        wake,
        look_at: Math.min(state.look_at, now + LONGEST_LOOK_MS),
        step: stepOf(state, now),
      };
    }
    case "ready": {
      const { quiesce } = state;
      const until = quiesce && Math.min(quiesce.until, now + QUIESCE_WITHIN_MS);
      const asked = quiesce && until !== null ? { ...quiesce, until } : null;
      return {
        ...state,
        leaving,
        since,
        closing: state.closing === null ? null : Math.min(state.closing, now),
        quiesce: asked,
        not_before: Math.min(state.not_before, now + LONGEST_LOOK_MS),
      };
    }
    case "stopping":
    case "deleting":
      return {
        ...state,
        leaving,
        since,
        look_at: Math.min(state.look_at, now + DATABASE_DEADLINES[state.status].after_ms),
      };
    case "error":
      return { ...state, leaving, since, retry_at: Math.min(state.retry_at, now + LONGEST_RETRY_MS) };
  }
}

function stepOf({ step }: Extract<DatabaseState, { status: "booting" }>, now: number): typeof step {
  return step.name === "fencing"
    ? { ...step, leased_until: Math.min(step.leased_until, now + LONGEST_LEASE_MS) }
    : step;
}
