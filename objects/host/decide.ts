import { z } from "zod";
import type { Entry } from "../../contract/event.ts";
import { HOST_NEXT, type HostStatus, Scheduling } from "../../contract/host.ts";

/**
 * The host's machine. Pure. A host is heard (frames, pings), or it is silent; what silence means is decided only while somebody was there
 * to listen: a deadline that is looked at late proves nothing about the host.
 */

const common = { scheduling: Scheduling, reason: z.string(), message: z.string() };

export const HostState = z.discriminatedUnion("status", [
  z.object({ ...common, status: z.literal("joining") }),
  /** `check_at`: when to look whether it still lives. */
  z.object({ ...common, status: z.literal("syncing"), boot_id: z.string(), check_at: z.int() }),
  z.object({ ...common, status: z.literal("ready"), boot_id: z.string(), check_at: z.int() }),
  z.object({ ...common, status: z.literal("unreachable"), boot_id: z.string(), since: z.int(), lost_at: z.int() }),
  z.object({ ...common, status: z.literal("lost"), boot_id: z.string(), since: z.int() }),
  /** `boot_id`: the agent to dismiss; null when none ever connected. */
  z.object({ ...common, status: z.literal("removed"), boot_id: z.string().nullable(), at: z.int() }),
]);
export type HostState = z.infer<typeof HostState>;

export type HostEvent =
  /** The agent said hello. */
  | { type: "hello"; boot_id: string }
  /** Nothing stale is left on it. */
  | { type: "settled" }
  /** The link of this boot was closed. */
  | { type: "closed" }
  | { type: "scheduling"; to: Scheduling }
  | { type: "removed" }
  /** A deadline of the state is over. `due_at` is when it was to be looked at; `last_seen`: when the agent was last heard, 0 for never. */
  | { type: "due"; due_at: number; last_seen: number };

export type HostFacts = { now: number; lost_after: number };
export type HostDecision = { state: HostState; entries: Entry[]; evict: boolean };

/** Silent for longer than this is unreachable, ms: two heartbeats and a half. */
export const SILENT_AFTER_MS = 25_000;
/** A deadline that is looked at later than this means that we were not listening, ms. */
const LATE_MS = 5_000;

export const joining = (): HostState => ({
  status: "joining",
  scheduling: "open",
  reason: "enrolled",
  message: "enrolled; its agent has not connected yet",
});

export function decideHost(state: HostState, event: HostEvent, { now, lost_after }: HostFacts): HostDecision {
  if (state.status === "removed") return stay(state);
  switch (event.type) {
    case "hello":
      return move(state, {
        status: "syncing",
        scheduling: state.scheduling,
        boot_id: event.boot_id,
        check_at: now + SILENT_AFTER_MS,
        reason: "connected",
        message: "connected; putting away what should not run there",
      });
    case "settled":
      return state.status === "syncing"
        ? move(state, { ...state, status: "ready", reason: "ready", message: "connected, and runs what it should" })
        : stay(state);
    case "closed":
      return state.status === "syncing" || state.status === "ready"
        ? silent(state, now, lost_after, "its connection was closed")
        : stay(state);
    case "scheduling":
      return event.to === state.scheduling ? stay(state) : reschedule(state, event.to);
    case "removed":
      return move(
        state,
        {
          status: "removed",
          scheduling: "cordoned",
          boot_id: "boot_id" in state ? state.boot_id : null,
          at: now,
          reason: "removed",
          message: "removed by request",
        },
        true,
      );
    case "due":
      return onDue(state, event, now, lost_after);
  }
}

/** When the state wants to be looked at again; null for one that rests. */
export function hostDeadline(state: HostState): number | null {
  switch (state.status) {
    case "syncing":
    case "ready":
      return state.check_at;
    case "unreachable":
      return state.lost_at;
    case "joining":
    case "lost":
    case "removed":
      return null;
  }
}

function onDue(
  state: HostState,
  { due_at, last_seen }: Extract<HostEvent, { type: "due" }>,
  now: number,
  lostAfter: number,
): HostDecision {
  const late = now - due_at > LATE_MS;
  switch (state.status) {
    case "syncing":
    case "ready":
      if (!late && now - last_seen >= SILENT_AFTER_MS)
        return silent(state, now, lostAfter, `nothing heard for ${Math.round(SILENT_AFTER_MS / 1000)} s`);
      // From the last sign of life, so that silence is noticed when it is long enough, and not one whole period after that.
      return {
        state: { ...state, check_at: (late ? now : last_seen) + SILENT_AFTER_MS },
        entries: [],
        evict: false,
      };
    case "unreachable":
      if (late || now < state.lost_at)
        return { state: { ...state, lost_at: now + lostAfter }, entries: [], evict: false };
      return move(
        state,
        {
          status: "lost",
          scheduling: state.scheduling,
          boot_id: state.boot_id,
          since: now,
          reason: "lost",
          message: "silent for too long; what can run elsewhere is moved",
        },
        true,
      );
    default:
      return stay(state);
  }
}

function silent(
  state: Extract<HostState, { status: "syncing" | "ready" | "unreachable" }>,
  now: number,
  lostAfter: number,
  why: string,
): HostDecision {
  return move(state, {
    status: "unreachable",
    scheduling: state.scheduling,
    boot_id: state.boot_id,
    since: now,
    lost_at: now + lostAfter,
    reason: "silent",
    message: `${why}; lost in ${Math.round(lostAfter / 1000)} s unless it comes back`,
  });
}

function reschedule(state: HostState, to: Scheduling): HostDecision {
  const [reason, message] = {
    open: ["host_uncordoned", "takes new workloads again"],
    cordoned: ["host_cordoned", "takes no new workloads; what runs there stays"],
    draining: ["host_draining", "takes no new workloads, and what runs there moves away"],
  }[to] as [string, string];
  return {
    state: { ...state, scheduling: to },
    entries: [{ level: "info", component: "api", reason, message }],
    evict: to === "draining",
  };
}

const stay = (state: HostState): HostDecision => ({ state, entries: [], evict: false });

function move(from: HostState, to: HostState, evict = false): HostDecision {
  if (from.status === to.status) return { state: to, entries: [], evict };
  if (!(HOST_NEXT[from.status] as readonly HostStatus[]).includes(to.status))
    throw new Error(`no edge from ${from.status} to ${to.status}`);
  return {
    state: to,
    entries: [
      {
        level: to.status === "unreachable" || to.status === "lost" ? "warning" : "info",
        component: "host",
        reason: "state_transition",
        message: `Status changed from ${from.status} to ${to.status}: ${to.message}`,
        data: { old_status: from.status, new_status: to.status },
      },
    ],
    evict,
  };
}

export const bootOf = (state: HostState): string | null => ("boot_id" in state ? state.boot_id : null);

/** One that has fallen silent must say hello again, whether it was restarted or not: only that brings it back. */
export const heardBoot = (state: HostState): string | null =>
  state.status === "unreachable" || state.status === "lost" ? null : bootOf(state);
