import { DATABASE_DEADLINES } from "../../contract/database.ts";
import type { DatabaseState } from "../../contract/database-state.ts";
import { QUIESCE_WITHIN_MS } from "../../contract/gateway.ts";
import { WRITER_LEASE_MS } from "../../contract/writer.ts";
import { WRITER_LEASE_MARGIN_MS } from "../../contract/writer-task.ts";
import { note } from "../note.ts";
import { ASK_AGAIN_MS, abandon, boot, ended, fail, open, rest } from "./boot.ts";
import type { EvictionCause } from "./decide.ts";
import { become, commonOf, type DatabaseFacts, type Draft, isBusy, leave, type Of, setLeaving, tell } from "./draft.ts";
import { onPreparationDue } from "./preparation.ts";

/** From a writer that nobody uses to none, and what makes it go otherwise. */

/**
 * When a ready writer may be stopped if nobody comes; null while somebody is there. A gateway that cannot be asked may have clients: its
 * lease is waited for.
 */
export function idleAt(state: DatabaseState, facts: DatabaseFacts): number | null {
  if (state.status !== "ready") return null;
  const patience = state.unwelcome ? 0 : facts.idle_ms;
  const { leases } = facts.demand;
  if (patience === null || leases.some(({ busy }) => busy)) return null;
  const mute = leases.filter(({ connected }) => !connected).map(({ expires_at }) => expires_at);
  return Math.max(facts.demand.last_active_at + patience, state.since + patience, state.not_before, ...mute);
}

/** A host that has not answered by then is left alone; and so much later it is asked again, as after an answer that somebody is there, ms. */
export const CLOSE_WITHIN_MS = 10_000;
const OTHERS_THERE_MS = 30_000;

/**
 * After every event: whether it is time to stop. First the gateways are asked whether anybody is there. When all of them are quiet its host is to
 * stop it, unless a client is connected: one of a gateway that cannot be heard has no lease any more, and its sessions go on.
 */
export function reconsider(draft: Draft): void {
  const { state, facts } = draft;
  if (state.status !== "ready") return;
  if (state.closing !== null) {
    if (facts.now >= state.closing + CLOSE_WITHIN_MS)
      abandon(draft, "its host does not say whether a client is connected", OTHERS_THERE_MS);
    return;
  }
  if (state.quiesce === null) {
    const at = idleAt(state, facts);
    if (at === null || at > facts.now) return;
    const stop = `${state.term}-${facts.now}`;
    draft.state = { ...state, quiesce: { stop, until: facts.now + QUIESCE_WITHIN_MS, asked: [], quiet: [] } };
    ask(draft);
  } else if (isBusy(draft)) abandon(draft, "a client came");
  else if (facts.now >= state.quiesce.until) abandon(draft, "a gateway did not say in time that nobody is there");
  else ask(draft);
}

/** What its host found. Without a client it has stopped it in that moment, also if somebody came here meanwhile. */
export function onClosed(draft: Draft, { term, clients }: { term: number; clients: number }): void {
  const { state } = draft;
  if (state.status !== "ready" || state.term !== term) return;
  if (clients === 0) {
    if (isBusy(draft)) ended(draft, state, "a client came as it was being stopped");
    else stopNow(draft);
  } else if (state.closing !== null)
    abandon(
      draft,
      `${clients} ${clients === 1 ? "client is" : "clients are"} connected that no gateway tells of`,
      OTHERS_THERE_MS,
    );
}

/** Asks whoever has not been asked; when all of them are quiet it is its host's turn. */
function ask(draft: Draft): void {
  const { state, facts } = draft;
  if (state.status !== "ready" || state.quiesce === null) return;
  const { stop, asked, quiet } = state.quiesce;
  const { leases } = facts.demand;
  const news = leases.filter(({ boot_id, connected }) => connected && !asked.includes(boot_id));
  for (const { boot_id } of news) tell(draft, { kind: "quiesce", stop, term: state.term }, boot_id);
  if (news.length > 0)
    draft.state = {
      ...state,
      quiesce: { ...state.quiesce, asked: [...asked, ...news.map(({ boot_id }) => boot_id)] },
    };
  if (leases.every(({ boot_id }) => quiet.includes(boot_id)))
    draft.state = { ...state, quiesce: null, closing: facts.now };
}

function stopNow(draft: Draft): void {
  const { state, facts } = draft;
  if (state.status !== "ready") return;
  const { host_id, term } = state;
  const seconds = Math.round(Math.max(0, facts.now - Math.max(facts.demand.last_active_at, state.since)) / 1000);
  leave(draft, host_id, term);
  const look_at = facts.now + DATABASE_DEADLINES.stopping.after_ms;
  const because = state.unwelcome ? "stopped to leave its host" : `nobody was there for ${seconds} s`;
  become(draft, { ...commonOf(draft.state), status: "stopping", host_id, since: facts.now, look_at, because }, because);
}

export function onQuiet(
  draft: Draft,
  { boot_id, stop, quiet }: { boot_id: string; stop: string; quiet: boolean },
): void {
  const { state } = draft;
  if (state.status !== "ready" || state.quiesce?.stop !== stop) return;
  if (!quiet) {
    abandon(draft, "somebody is there");
    return;
  }
  if (state.quiesce.quiet.includes(boot_id)) return;
  draft.state = { ...state, quiesce: { ...state.quiesce, quiet: [...state.quiesce.quiet, boot_id] } };
}

/** What an older writer's host says of its end. Null: it is gone. */
export function onLeft(
  draft: Draft,
  { host_id, term, lease_until }: { host_id: string; term: number; lease_until: number | null },
): void {
  const { state } = draft;
  if (lease_until === null) {
    setLeaving(
      draft,
      state.leaving.filter((one) => !(one.host_id === host_id && one.term === term)),
    );
    if (state.status === "stopping" && state.host_id === host_id && state.term === term) {
      tell(draft, { kind: "stopped", term });
      rest(draft, "stopped; the next connection wakes it");
    }
  } else
    setLeaving(
      draft,
      state.leaving.map((one) =>
        one.host_id === host_id && one.term === term && one.lease_until === null ? { ...one, lease_until } : one,
      ),
    );
  open(draft);
}

export function onEvicted(
  draft: Draft,
  { host_id, term, why }: { host_id: string; term: number; why: EvictionCause },
): void {
  const text = {
    host_lost: "its host was lost",
    host_draining: "its host is drained",
    host_removed: "its host was removed",
  }[why];
  if (why === "host_draining") {
    const { state } = draft;
    if (state.status !== "ready" || state.host_id !== host_id || state.unwelcome) return;
    note(draft, "info", "host", why, `${text}: it is stopped as soon as nobody is there`);
    draft.state = { ...state, unwelcome: true };
    return;
  }
  const { status } = draft.state;
  const here = hostOf(draft.state) === host_id && draft.state.term === term;
  if (here && draft.state.status === "ready") ended(draft, draft.state, text);
  else if (here && draft.state.status === "booting") {
    const { wake, attempt } = draft.state;
    leave(draft, host_id, term);
    note(draft, "warning", "host", why, text, { host_id, term });
    boot(draft, wake, attempt, [host_id]);
  } else if (here && status === "stopping") rest(draft, text);
  if (why === "host_removed") forgetHost(draft, host_id);
}

/** Nothing of it counts any more. What ran there may go on until its lease is over: it may have been removed because it could not be reached. */
function forgetHost(draft: Draft, host_id: string): void {
  const { state, facts } = draft;
  const at_most = facts.now + WRITER_LEASE_MS + WRITER_LEASE_MARGIN_MS;
  draft.state = {
    ...state,
    home: state.home === host_id ? null : state.home,
    copies: state.copies.filter((id) => id !== host_id),
    leaving: state.leaving.map((one) =>
      one.host_id === host_id ? { ...one, removed: true, lease_until: one.lease_until ?? at_most } : one,
    ),
  };
  if (draft.state.status === "deleting" && draft.state.discarding?.host_id === host_id)
    draft.state = { ...draft.state, discarding: null };
  open(draft);
}

/** The host on which the writer is, or is to be. */
export function hostOf(state: DatabaseState): string | null {
  if (state.status === "ready" || state.status === "stopping") return state.host_id;
  return state.status === "booting" && "host_id" in state.step ? state.step.host_id : null;
}

export function onDue(draft: Draft): void {
  const { state, facts } = draft;
  const { now } = facts;
  switch (state.status) {
    case "creating":
      onPreparationDue(draft, state);
      return;
    case "booting":
      dueWhileBooting(draft, state);
      return;
    case "stopping":
      if (now >= state.look_at) draft.state = { ...state, look_at: now + DATABASE_DEADLINES.stopping.after_ms };
      return;
    default:
      return;
  }
}

function dueWhileBooting(draft: Draft, state: Of<"booting">): void {
  const { now } = draft.facts;
  const { after_ms } = DATABASE_DEADLINES.booting;
  if (now >= state.since + after_ms) fail(draft, "timeout", `it did not start in ${after_ms / 60_000} minutes`, false);
  else if (now < state.look_at) return;
  else if (state.step.name === "pausing") boot(draft, state.wake, state.attempt, []);
  else if (state.step.name === "fencing") open(draft);
  // Whom it waits for is asked again.
  else draft.state = { ...state, look_at: now + ASK_AGAIN_MS };
}
