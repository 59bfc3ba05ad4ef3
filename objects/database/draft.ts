import { DATABASE_NEXT, type StartView } from "../../contract/database.ts";
import type { ProfileName } from "../../contract/database-profile.ts";
import type { DatabaseState, Leaving, Wake } from "../../contract/database-state.ts";
import type { Entry } from "../../contract/event.ts";
import type { LeaseFrame } from "../../contract/gateway.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { note } from "../note.ts";
import { withFailure, withStart } from "./starts.ts";

/** What a decision is made of beside the state: settings, what the gateways last said, and the time. */
export type DatabaseFacts = {
  now: number;
  /** 0..1. */
  jitter: number;
  profile: ProfileName;
  /** Null: it is never stopped for being idle. */
  idle_ms: number | null;
  /** Whether what it needs to be started is there: without, it never is. */
  prepared: boolean;
  /** Whether keepers have its log: without, it can run nowhere but where its only copy is. */
  kept: boolean;
  /** The verifier that a writer is to have. */
  credential: string;
  /** The password that its readers are to have there; null: it has none. */
  reader: string | null;
  demand: Demand;
};

/** What the leases come to; those that are over are not among them. */
export type Demand = {
  leases: readonly LeaseSummary[];
  /** When a client was last there, ms since 1970. */
  last_active_at: number;
};

/** `busy`: clients use it or wait for it. `connected`: its gateway can be asked. */
export type LeaseSummary = { boot_id: string; connected: boolean; busy: boolean; waiting: boolean; expires_at: number };

/** What is to be said to gateways, at once and once: they state anew what they need. `to` null: to all. */
export type Said = { to: string | null; frame: LeaseFrame };

type Common = Omit<DatabaseState, "status" | "since">;
export type Of<S extends DatabaseState["status"]> = Extract<DatabaseState, { status: S }>;

export type Draft = {
  facts: DatabaseFacts;
  state: DatabaseState;
  entries: Entry[];
  said: Said[];
};

export const commonOf = (state: DatabaseState): Common => ({
  term: state.term,
  served_term: state.served_term,
  leaving: state.leaving,
  home: state.home,
  copies: state.copies,
  current_profile: state.current_profile,
  candidate_profile: state.candidate_profile,
  scale_state: state.scale_state,
  freeze_new_checkouts: state.freeze_new_checkouts,
  last_start: state.last_start,
  starts: state.starts,
  failures: state.failures,
  accept_loss: state.accept_loss,
  installed: state.installed,
  reader: state.reader,
  restorable_since: state.restorable_since,
});

/** Takes another state, by an edge that there is, and tells of it. */
export function become(draft: Draft, next: DatabaseState, message: string): void {
  const before = draft.state.status;
  if (before !== next.status) {
    if (!(DATABASE_NEXT[before] as readonly string[]).includes(next.status))
      throw new Error(`no edge from ${before} to ${next.status}`);
    const data = { old_status: before, new_status: next.status };
    note(draft, next.status === "error" ? "error" : "info", "scheduler", "state_transition", message, data);
  }
  const isStart = next.status === "ready" && next.last_start !== null && before !== "ready";
  const { starts } = next;
  if (isStart) draft.state = { ...next, starts: withStart(starts, next.last_start as StartView) };
  else if (next.status === "error" && before !== "error")
    draft.state = { ...next, starts: withFailure(starts, next.code) };
  else draft.state = next;
}

export const tell = (draft: Draft, frame: LeaseFrame, to: string | null = null): void =>
  void draft.said.push({ to, frame });

/** The writer of a host has to go. Whatever was known of its lease stays known. */
export function leave(draft: Draft, host_id: string, term: number): void {
  const known = draft.state.leaving.some((one) => one.host_id === host_id && one.term === term);
  if (!known) setLeaving(draft, [...draft.state.leaving, { host_id, term, lease_until: null, removed: false }]);
}

export function setLeaving(draft: Draft, leaving: Leaving[]): void {
  draft.state = { ...draft.state, leaving };
}

/** What ran on a host that was removed is over with its lease. */
export function forgetRemoved(draft: Draft): void {
  const isOver = ({ removed, lease_until }: Leaving) => removed && (lease_until ?? 0) <= draft.facts.now;
  if (draft.state.leaving.some(isOver))
    setLeaving(
      draft,
      draft.state.leaving.filter((one) => !isOver(one)),
    );
}

/**
 * Writers elsewhere that may still serve somebody, and until when: as long as either the control plane's word or the keepers' lets them go on.
 * Null: their host has not said yet.
 */
export function mayServe(
  { leaving }: DatabaseState,
  { host_id, leased_until }: { host_id: string; leased_until: number },
  now: number,
): { host_id: string; until: number | null }[] {
  return leaving
    .filter((one) => one.host_id !== host_id)
    .map(({ host_id: other, lease_until }) => ({
      host_id: other,
      until: lease_until === null ? null : Math.max(lease_until, leased_until),
    }))
    .filter(({ until }) => until === null || until > now);
}

export const isBusy = ({ facts }: Draft): boolean => facts.demand.leases.some(({ busy }) => busy);

export const restart = (now: number): Wake => ({ at: now, cause: "restart", gateway: null, client: null });

export function startView(
  state: Of<"booting">,
  started: { rung: number; why: string; phases: Record<string, number>; restored_bytes: number },
  now: number,
): StartView {
  const { at, cause, gateway, client } = state.wake;
  const agent = Object.values(started.phases).reduce((sum, ms) => sum + ms, 0);
  const ms = Math.max(0, now - at);
  return {
    term: state.term,
    at: timestamp(at),
    ready_at: timestamp(now),
    ms,
    rung: started.rung,
    why: started.why,
    // What the agent did not spend went by on the way there and back.
    phases: rounded({ control: Math.max(0, ms - agent), ...started.phases }),
    restored_bytes: started.restored_bytes,
    ...{ cause, gateway, client },
  };
}

const rounded = (phases: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(phases).map(([name, ms]) => [name, Math.round(ms * 10) / 10]));
