import type { DatabaseState, Wake } from "../../contract/database-state.ts";
import type { Observation } from "../../contract/workload.ts";
import { type Candidate, choose, mayFit } from "../deployment/placement.ts";
import { note } from "../note.ts";
import {
  become,
  commonOf,
  type Draft,
  isBusy,
  leave,
  mayServe,
  type Of,
  restart,
  setLeaving,
  startView,
  tell,
} from "./draft.ts";
import { failedFrame, readyFrame } from "./frames.ts";
import { hearNotes, hearRestorable } from "./notes.ts";
import { reservationOf } from "./reservation.ts";

/** From a wake to a writer that is ready, and what may go wrong on the way. */

/** A host, or an agent, that says nothing for so long is asked again, ms. */
export const ASK_AGAIN_MS = 10_000;
/** How long a wake looks for a host, ms. */
const PLACE_WITHIN_MS = 20_000;
const PLACE_AGAIN_MS = 1_000;
/** An agent that is being restarted is back before a restore on another host would be done, ms. */
const HOME_PATIENCE_MS = 5_000;
const HOME_AGAIN_MS = 250;
/** So many starts are tried for one wake; between them is this much time, doubled each time. */
export const ATTEMPTS = 3;
const FIRST_PAUSE_MS = 250;
/** After a wake that came to nothing, the next one waits this long, doubled with each in a row, ms. */
const RETRY_FIRST_MS = 1_000;
const RETRY_MOST_MS = 30_000;

/** What no other attempt would change. */
const HOPELESS: ReadonlySet<string> = new Set(["not_restorable"]);

export function onWake(draft: Draft, wake: Wake): void {
  const { state, facts } = draft;
  switch (state.status) {
    case "stopped":
    case "stopping":
      boot(draft, wake, 1, []);
      return;
    case "error":
      if (facts.now >= state.retry_at) {
        boot(draft, wake, 1, []);
        return;
      }
      tell(draft, failedFrame(state, facts.now));
      return;
    case "ready":
      // Those who said that nobody is there have forgotten where it is.
      if (state.quiesce !== null || state.closing !== null) abandon(draft, "a client came");
      return;
    default:
      return;
  }
}

/** Nobody is stopped now. Those who said that nobody is there are told again where it is. */
export function abandon(draft: Draft, why: string, forMs = 1_000): void {
  const { state, facts } = draft;
  if (state.status !== "ready" || (state.quiesce === null && state.closing === null)) return;
  note(draft, "info", "scheduler", "idle_stop_abandoned", `not stopped: ${why}`);
  draft.state = { ...state, quiesce: null, closing: null, not_before: facts.now + forMs };
  tell(draft, readyFrame(draft.state as Of<"ready">));
}

/** Begins a start. On the host that has the newest copy nobody else has to be asked first. */
export function boot(draft: Draft, wake: Wake, attempt: number, refusedBy: string[]): void {
  const { state, facts } = draft;
  if (state.status === "stopping" || state.status === "ready") leave(draft, state.host_id, state.term);
  const step: Of<"booting">["step"] = { name: "placing" };
  const refused = Object.fromEntries(refusedBy.map((host) => [host, "could not start it just now"]));
  const next: DatabaseState = {
    ...commonOf(draft.state),
    status: "booting",
    since: state.status === "booting" ? state.since : facts.now,
    wake,
    attempt,
    refused,
    unfit: state.status === "booting" ? state.unfit : {},
    message: "looking for a host",
    look_at: facts.now + PLACE_AGAIN_MS,
    ordered: null,
    step,
  };
  const who = wake.client ? ` for ${wake.client.application_name || "a client"} at ${wake.client.address}` : "";
  become(
    draft,
    next,
    wake.cause === "connection" || wake.cause === "reader" ? `woken${who}` : `started again: ${wake.cause}`,
  );
  if (attempt === 1) tell(draft, { kind: "waking", phase: "placing", message: "the database is starting" });
  const last = facts.kept && attempt === ATTEMPTS;
  if (next.home !== null && !(next.home in { ...refused, ...next.unfit }) && !last) begin(draft, next.home);
}

/** Raises the term: from here on no writer of a lower one is to start anywhere. */
export function begin(draft: Draft, host_id: string): void {
  const { state, facts } = draft;
  if (state.status !== "booting") return;
  if (!facts.prepared) {
    fail(draft, "not_prepared", "what it needs was never prepared", true);
    return;
  }
  draft.state = {
    ...state,
    term: state.term + 1,
    copies: state.copies.includes(host_id) ? state.copies : [...state.copies, host_id],
    ordered: facts.credential,
    message: "starting PostgreSQL",
    look_at: facts.now + ASK_AGAIN_MS,
    step: { name: "offered", host_id },
  };
  tell(draft, { kind: "waking", phase: "starting", message: "starting PostgreSQL" });
}

export function onHosts(
  draft: Draft,
  { hosts, labels }: { hosts: readonly Candidate[]; labels: Record<string, string> },
): void {
  const { state, facts } = draft;
  if (state.status !== "booting" || state.step.name !== "placing") return;
  const home = hosts.find(({ id }) => id === state.home);
  const isComing = home !== undefined && (home.status === "unreachable" || home.status === "syncing");
  if (isComing && state.unfit[home.id] === undefined && facts.now < state.wake.at + HOME_PATIENCE_MS) {
    const message = `waiting for host ${home.name}, which has the newest copy and is ${home.status}`;
    draft.state = { ...state, message, refused: {}, look_at: facts.now + HOME_AGAIN_MS };
    return;
  }
  const need = { runtime: "postgres" as const, labels, ...reservationOf(facts.profile) };
  // Whatever has a copy comes before what has none; but at the last attempt, what has not failed yet.
  const rank = (id: string): number =>
    id === state.home && state.attempt === ATTEMPTS ? 2 : state.copies.includes(id) ? 0 : 1;
  const own = new Map(hosts.map(({ id }) => [id, rank(id)]));
  // Without keepers there is one copy of what was ever written, and none may be made up in its place.
  const bound = !facts.kept && state.served_term > 0;
  const among = bound ? hosts.filter(({ id }) => id === state.home) : hosts;
  const choice = choose(among, need, own, { ...state.refused, ...state.unfit });
  if (choice.type === "chosen") {
    begin(draft, choice.host_id);
    return;
  }
  const message = !bound
    ? choice.message
    : `its only copy is on ${state.home === null ? "a host that was removed" : `host ${state.home}, which cannot run it now: ${choice.message}`}`;
  const isOver = facts.now - state.wake.at >= PLACE_WITHIN_MS || facts.now < state.wake.at;
  if (isOver || !among.some((host) => mayFit(host, need) && state.unfit[host.id] === undefined))
    fail(draft, "no_host", message, true);
  else draft.state = { ...state, message, refused: {}, look_at: facts.now + PLACE_AGAIN_MS };
}

export function onAnswered(
  draft: Draft,
  { host_id, term, accepted, message }: { host_id: string; term: number; accepted: boolean; message: string },
): void {
  const { state, facts } = draft;
  if (state.status !== "booting" || state.step.name !== "offered") return;
  if (state.step.host_id !== host_id || state.term !== term) return;
  if (accepted) {
    draft.state = { ...state, look_at: facts.now + ASK_AGAIN_MS, step: { name: "starting", host_id } };
    return;
  }
  note(draft, "warning", "host", "host_refused", `host ${host_id} ${message}`, { host_id, term });
  const refused = { ...state.refused, [host_id]: message };
  draft.state = { ...state, refused, message, look_at: facts.now, step: { name: "placing" } };
}

export function onObserved(
  draft: Draft,
  { host_id, term, observation }: { host_id: string; term: number; observation: Observation },
): void {
  if (observation.phase === "gone") gone(draft, host_id, term);
  if (term !== draft.state.term) return;
  hearRestorable(draft, observation);
  const { state } = draft;
  switch (state.status) {
    case "booting":
      booting(draft, state, host_id, observation);
      return;
    case "ready":
      if (state.host_id !== host_id) return;
      if (observation.phase === "running" && observation.address !== null) {
        hearNotes(draft, observation.notes);
        if (observation.address === state.backend) return;
        const certificate = observation.start?.certificate ?? null;
        draft.state = { ...(draft.state as Of<"ready">), backend: observation.address, certificate };
        tell(draft, readyFrame(draft.state as Of<"ready">));
        return;
      }
      if (observation.phase === "exited" || observation.phase === "failed" || observation.phase === "gone")
        ended(draft, state, describe(observation));
      return;
    case "stopping":
      if (state.host_id === host_id && (observation.phase === "exited" || observation.phase === "failed"))
        // It is not there any more; that nothing of it stays, its host sees to.
        rest(draft, "the writer ended");
      return;
    default:
      if (state.status === "stopped" && observation.phase === "running") leave(draft, host_id, term);
      return;
  }
}

function booting(draft: Draft, state: Of<"booting">, host_id: string, observation: Observation): void {
  const { facts } = draft;
  const { step } = state;
  if (!("host_id" in step) || step.host_id !== host_id) return;
  const isUp = step.name === "fencing";
  switch (observation.phase) {
    case "preparing": {
      if (isUp) return;
      const look_at = facts.now + ASK_AGAIN_MS;
      draft.state = { ...state, message: observation.message, look_at, step: { name: "starting", host_id } };
      if (observation.message !== state.message)
        tell(draft, { kind: "waking", phase: "starting", message: observation.message });
      return;
    }
    case "running": {
      if (isUp) return;
      if (observation.address === null) {
        fail(draft, "failed", "its agent does not say where it listens", false);
        return;
      }
      const {
        rung = 0,
        why = "",
        damage = null,
        phases = {},
        restored_bytes = 0,
        older_lease_ms = 0,
        certificate = null,
        credential,
        reader = null,
      } = observation.start ?? {};
      const start = startView(state, { rung, why, phases, restored_bytes }, facts.now);
      const installed = credential ?? state.ordered;
      if (damage !== null) {
        const message = `the copy on host ${host_id} is damaged: ${damage}; restored from a keeper`;
        note(draft, "warning", "agent", "copy_damaged", message, { host_id, term: state.term });
      }
      // Older ones of this host went before this one came.
      setLeaving(
        draft,
        state.leaving.filter((one) => one.host_id !== host_id),
      );
      const next = {
        ...(draft.state as Of<"booting">),
        installed,
        reader,
        current_profile: facts.profile,
        home: host_id,
      };
      // It counts from now, which is later than the keepers said so.
      const leased_until = facts.now + older_lease_ms;
      const backend = observation.address;
      draft.state = { ...next, step: { name: "fencing", host_id, backend, certificate, start, leased_until } };
      open(draft);
      return;
    }
    case "exited":
    case "failed":
    case "gone": {
      const code = observation.phase === "failed" ? observation.failure.reason : "failed";
      attemptFailed(draft, state, host_id, code, describe(observation));
      return;
    }
    default:
      return;
  }
}

/** Lets clients in, once nobody can be served by an older writer. */
export function open(draft: Draft): void {
  const { state, facts } = draft;
  if (state.status !== "booting" || state.step.name !== "fencing") return;
  const { host_id, backend, certificate, start } = state.step;
  const older = mayServe(state, state.step, facts.now);
  if (older.length > 0) {
    const ends = older.map(({ until }) => until ?? facts.now + 1_000);
    const message = `waiting for the lease of the last writer, on ${older.map((one) => one.host_id).join(", ")}, to end`;
    draft.state = { ...state, message, look_at: Math.max(...ends) };
    tell(draft, { kind: "waking", phase: "fencing", message });
    return;
  }
  const next: Of<"ready"> = {
    ...commonOf(state),
    served_term: state.term,
    failures: 0,
    accept_loss: false,
    last_start: start,
    status: "ready",
    host_id,
    since: facts.now,
    backend,
    certificate,
    unwelcome: false,
    closing: null,
    quiesce: null,
    not_before: 0,
  };
  become(draft, next, `ready after ${start.ms} ms, by rung ${start.rung}: ${start.why}`);
  tell(draft, readyFrame(next));
}

function attemptFailed(draft: Draft, state: Of<"booting">, host_id: string, code: string, why: string): void {
  const { facts } = draft;
  const data = { host_id, term: state.term, code, attempt: state.attempt };
  note(draft, "warning", "agent", "start_failed", `attempt ${state.attempt} on host ${host_id}: ${why}`, data);
  leave(draft, host_id, state.term);
  if (code === "wrong_version") {
    const unfit = { ...state.unfit, [host_id]: `cannot open it: ${why}` };
    const [next, look_at] = [draft.state as Of<"booting">, facts.now + PLACE_AGAIN_MS];
    draft.state = { ...next, unfit, message: "looking for a host", look_at, step: { name: "placing" } };
    return;
  }
  if (HOPELESS.has(code) || state.attempt >= ATTEMPTS) {
    fail(draft, code, why, !HOPELESS.has(code));
    return;
  }
  draft.state = {
    ...(draft.state as Of<"booting">),
    attempt: state.attempt + 1,
    message: `trying again: ${why}`,
    look_at: facts.now + FIRST_PAUSE_MS * 2 ** (state.attempt - 1),
    step: { name: "pausing" },
  };
  tell(draft, { kind: "waking", phase: "pausing", message: `trying again: ${why}` });
}

/** The wake came to nothing. Whoever waits is told so, and the next may try again after a while. */
export function fail(draft: Draft, code: string, message: string, soon: boolean): void {
  const { state, facts } = draft;
  if (state.status !== "booting" && state.status !== "creating" && state.status !== "ready") return;
  if (state.status === "booting" && "host_id" in state.step) leave(draft, state.step.host_id, state.term);
  const failures = state.failures + 1;
  const wait = soon ? Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** (failures - 1)) : RETRY_MOST_MS;
  const retry_at = facts.now + Math.round(wait * (1 + facts.jitter / 5));
  const next: Of<"error"> = {
    ...commonOf(draft.state),
    failures,
    // It was said of what is lost, and not of what may only be away.
    accept_loss: state.accept_loss && code === "not_restorable",
    status: "error",
    since: facts.now,
    code,
    message,
    retry_at,
  };
  become(draft, next, message);
  tell(draft, failedFrame(next, facts.now));
}

/** The writer is not there any more, and nobody here wanted that. */
export function ended(draft: Draft, state: Of<"ready">, why: string): void {
  const { facts } = draft;
  note(draft, "warning", "agent", "writer_ended", `the writer of term ${state.term} ended: ${why}`, {
    host_id: state.host_id,
    term: state.term,
  });
  leave(draft, state.host_id, state.term);
  tell(draft, { kind: "stopped", term: state.term });
  if (isBusy(draft)) boot(draft, restart(facts.now), 1, []);
  else rest(draft, `the writer ended, and nobody was there: ${why}`);
}

/** Off, until somebody comes. Why is what it was stopped for, or else what ended it. */
export function rest(draft: Draft, message: string): void {
  const because = (draft.state.status === "stopping" && draft.state.because) || message;
  const next: DatabaseState = { ...commonOf(draft.state), status: "stopped", since: draft.facts.now, because };
  become(draft, next, message);
}

/** Nothing is left of a writer on a host. */
function gone(draft: Draft, host_id: string, term: number): void {
  const { state } = draft;
  const left = state.leaving.filter((one) => !(one.host_id === host_id && one.term <= term));
  if (left.length < state.leaving.length) setLeaving(draft, left);
  if (draft.state.status === "stopping" && draft.state.host_id === host_id && draft.state.term <= term) {
    tell(draft, { kind: "stopped", term });
    rest(draft, "stopped; the next connection wakes it");
  }
}

const describe = (observation: Observation): string =>
  observation.phase === "failed"
    ? observation.failure.message
    : observation.phase === "exited"
      ? observation.exit.oom
        ? "it was out of the memory of its profile"
        : observation.exit.code === null
          ? "it crashed, was killed, or its lease ran out"
          : `it ended with code ${observation.exit.code}`
      : "it is gone from its host";
