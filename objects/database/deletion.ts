import { DATABASE_DEADLINES } from "../../contract/database.ts";
import type { DatabaseState } from "../../contract/database-state.ts";
import type { Observation } from "../../contract/workload.ts";
import { type Candidate, choose } from "../deployment/placement.ts";
import { note } from "../note.ts";
import { become, commonOf, type Draft, leave, tell } from "./draft.ts";
import { hostOf } from "./idle.ts";

/** The end of a database: its writer, every copy of its data, and what the keepers have. It waits for hosts that are away. */

export function onDelete(draft: Draft): void {
  const { state, facts } = draft;
  if (state.status === "deleting") return;
  const host_id = hostOf(state);
  if (host_id !== null) leave(draft, host_id, state.term);
  note(draft, "info", "api", "deletion_requested", "deletion requested");
  const next: DatabaseState = {
    ...commonOf(draft.state),
    status: "deleting",
    since: facts.now,
    look_at: facts.now + DATABASE_DEADLINES.deleting.after_ms,
    // What was never started no keeper has heard of.
    kept: !facts.kept || state.term === 0,
    discarding: null,
    message: "",
  };
  become(draft, next, "it is being deleted, with everything in it");
  tell(draft, { kind: "revoked", message: "the database is deleted" });
}

/** The next copy that is to go. */
export function proceed(draft: Draft): void {
  const { state, facts } = draft;
  if (state.status !== "deleting") return;
  if (facts.now >= state.look_at) {
    // A host that is away is asked again; another one may be there meanwhile.
    const copies = [...state.copies.slice(1), ...state.copies.slice(0, 1)];
    const look_at = facts.now + DATABASE_DEADLINES.deleting.after_ms;
    draft.state = { ...state, copies, look_at, discarding: null };
  }
  if (draft.state.status !== "deleting" || draft.state.discarding !== null) return;
  const [host_id] = draft.state.copies;
  if (host_id !== undefined) discardOn(draft, host_id);
}

/** No host has a copy any more, and the keepers are still to be told: any host will do. */
export const needsHost = (state: DatabaseState): boolean =>
  state.status === "deleting" && state.copies.length === 0 && !state.kept && state.discarding === null;

export function onHostsForDeletion(draft: Draft, hosts: readonly Candidate[]): void {
  if (!needsHost(draft.state)) return;
  const need = { runtime: "postgres" as const, labels: {}, memory_bytes: 0, cpu_millis: 0 };
  const choice = choose(hosts, need, new Map(), {});
  if (choice.type === "chosen") discardOn(draft, choice.host_id);
}

function discardOn(draft: Draft, host_id: string): void {
  const { state } = draft;
  if (state.status !== "deleting") return;
  const term = state.term + 1;
  draft.state = { ...state, term, discarding: { host_id, term } };
}

/** A host has removed its copy, or says why it has not. */
export function onRemoval(
  draft: Draft,
  { host_id, term, observation }: { host_id: string; term: number; observation: Observation },
): void {
  const { state } = draft;
  if (state.status !== "deleting" || (observation.phase !== "exited" && observation.phase !== "failed")) return;
  if (state.discarding?.host_id !== host_id || state.discarding.term !== term) return;
  leave(draft, host_id, term);
  const now = draft.state;
  if (now.status !== "deleting") return;
  if (observation.phase === "failed" || observation.exit.code !== 0) {
    const why = observation.phase === "failed" ? observation.failure.message : "its agent ended meanwhile";
    draft.state = { ...now, message: `host ${host_id}: ${why}` };
    return;
  }
  const copies = now.copies.filter((id) => id !== host_id);
  // What was there before is gone with it.
  const leaving = now.leaving.filter((one) => one.host_id !== host_id || one.term === term);
  draft.state = { ...now, copies, leaving, kept: true, discarding: null, message: "" };
}

/** Nothing is left of it. */
export const isGone = (state: DatabaseState): boolean =>
  state.status === "deleting" && state.copies.length === 0 && state.kept && state.leaving.length === 0;
