import type { DatabaseState, Wake } from "../../contract/database-state.ts";
import type { Entry } from "../../contract/event.ts";
import type { Observation } from "../../contract/workload.ts";
import type { Candidate } from "../deployment/placement.ts";
import { note } from "../note.ts";
import { onAnswered, onHosts, onObserved, onWake } from "./boot.ts";
import { onThisClock } from "./clock.ts";
import { onDelete, onHostsForDeletion, onRemoval, proceed } from "./deletion.ts";
import { type DatabaseFacts, type Draft, forgetRemoved, type Said, tell } from "./draft.ts";
import { onClosed, onDue, onEvicted, onLeft, onQuiet, reconsider } from "./idle.ts";
import { onAcceptLoss } from "./loss.ts";
import { onEarlyWake, onPrepared, onUnprepared } from "./preparation.ts";

/**
 * The database's machine. Pure: time, chance, settings and what the gateways last said come in as facts. Which writer should be, where, and under
 * which term follows from the state (`letters.ts`); what is to be said to gateways at once comes out beside it.
 */

export type DatabaseEvent =
  /** What a database needs to be woken is there. */
  | { type: "prepared" }
  /** It is not, and why. It is tried again. */
  | { type: "unprepared"; message: string }
  /** Somebody waits for it. */
  | { type: "wake"; wake: Wake }
  /** Where the writer might run. */
  | { type: "hosts"; hosts: readonly Candidate[]; labels: Record<string, string> }
  | { type: "answered"; host_id: string; term: number; accepted: boolean; message: string }
  /** What a host saw of the writer of a term. */
  | { type: "observed"; host_id: string; term: number; observation: Observation }
  | { type: "evicted"; host_id: string; term: number; why: EvictionCause }
  /** A host has heard that this writer must go: it is gone, or its lease is over at `lease_until`. */
  | { type: "left"; host_id: string; term: number; lease_until: number | null }
  /** A gateway has answered whether anybody is there. */
  | { type: "quiet"; boot_id: string; stop: string; quiet: boolean }
  /** The writer's host was to stop it unless a client is connected: so many are. None: it is being stopped. */
  | { type: "closed"; term: number; clients: number }
  /** What the gateways say has changed. */
  | { type: "demand" }
  | { type: "installed"; term: number; credential: string }
  | { type: "reader_set"; term: number; reader: string | null }
  | { type: "accept_loss" }
  | { type: "delete" }
  | { type: "due" };

export type EvictionCause = "host_lost" | "host_draining" | "host_removed";
export type DatabaseDecision = { state: DatabaseState; entries: Entry[]; said: Said[] };

/** A new database: a record and a name for its log. Nothing runs. */
export function initial(facts: DatabaseFacts): DatabaseDecision {
  const state: DatabaseState = {
    status: "creating",
    since: facts.now,
    message: "",
    wake: null,
    term: 0,
    served_term: 0,
    leaving: [],
    home: null,
    copies: [],
    current_profile: null,
    candidate_profile: null,
    scale_state: "STEADY",
    freeze_new_checkouts: false,
    last_start: null,
    starts: {},
    failures: 0,
    accept_loss: false,
    installed: null,
    reader: null,
    restorable_since: null,
  };
  const draft: Draft = { facts, state, entries: [], said: [] };
  note(draft, "info", "api", "database_created", "created; the first connection starts it");
  return { state, entries: draft.entries, said: [] };
}

/** What comes of an event. A late, repeated or stale one leaves everything as it is. */
export function decide(state: DatabaseState, event: DatabaseEvent, facts: DatabaseFacts): DatabaseDecision {
  const draft: Draft = { facts, state: onThisClock(state, facts.now), entries: [], said: [] };
  apply(draft, event);
  forgetRemoved(draft);
  reconsider(draft);
  return { state: draft.state, entries: draft.entries, said: draft.said };
}

function apply(draft: Draft, event: DatabaseEvent): void {
  switch (event.type) {
    case "prepared":
      onPrepared(draft);
      break;
    case "unprepared":
      onUnprepared(draft, event.message);
      break;
    case "wake":
      if (draft.facts.prepared) onWake(draft, event.wake);
      else onEarlyWake(draft, event.wake);
      break;
    case "hosts":
      onHosts(draft, event);
      onHostsForDeletion(draft, event.hosts);
      break;
    case "answered":
      onAnswered(draft, event);
      break;
    case "observed":
      // Its host has stopped it, as it was to, and its answer was lost or is late.
      if (isClosing(draft.state, event)) onClosed(draft, { term: event.term, clients: 0 });
      else onObserved(draft, event);
      onRemoval(draft, event);
      break;
    case "evicted":
      onEvicted(draft, event);
      break;
    case "left":
      onLeft(draft, event);
      break;
    case "quiet":
      onQuiet(draft, event);
      break;
    case "closed":
      onClosed(draft, event);
      break;
    case "installed":
      onInstalled(draft, event);
      break;
    case "reader_set":
      if (draft.state.term === event.term) draft.state = { ...draft.state, reader: event.reader };
      break;
    case "accept_loss":
      onAcceptLoss(draft);
      break;
    case "delete":
      onDelete(draft);
      break;
    case "due":
      onDue(draft);
      break;
    case "demand":
      break;
  }
  proceed(draft);
}

const isClosing = (state: DatabaseState, { host_id, observation }: Extract<DatabaseEvent, { type: "observed" }>) =>
  state.status === "ready" && state.closing !== null && state.host_id === host_id && observation.phase === "exited";

function onInstalled(draft: Draft, { term, credential }: { term: number; credential: string }): void {
  if (draft.state.term !== term || draft.state.installed === credential) return;
  draft.state = { ...draft.state, installed: credential };
  note(draft, "info", "agent", "credential_installed", "the new password is the one that PostgreSQL has");
  tell(draft, { kind: "changed" });
}
