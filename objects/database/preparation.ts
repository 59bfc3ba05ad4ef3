import { DATABASE_DEADLINES } from "../../contract/database.ts";
import type { Wake } from "../../contract/database-state.ts";
import { boot, fail, rest } from "./boot.ts";
import { become, commonOf, type Draft, isBusy, type Of, tell } from "./draft.ts";
import { failedFrame } from "./frames.ts";

/** From its making to a database that can be woken. One whose keepers are not chosen is not started: it would have none, for good. */

export const preparing = ({ message }: Of<"creating">): string =>
  message === "" ? "what it needs is being prepared" : message;

/** Whoever waits already is not left waiting. */
export function onPrepared(draft: Draft): void {
  const { state, facts } = draft;
  if (state.status !== "creating" || !facts.prepared) return;
  if (state.wake !== null && isBusy(draft)) boot(draft, state.wake, 1, []);
  else rest(draft, "it can be connected to");
}

export function onUnprepared(draft: Draft, message: string): void {
  const { state } = draft;
  if (state.status !== "creating" || state.message === message) return;
  draft.state = { ...state, message };
  if (state.wake !== null) tell(draft, { kind: "waking", phase: "preparing", message });
}

/** Somebody waits for what cannot be started yet. After it was given up, it is tried anew. */
export function onEarlyWake(draft: Draft, wake: Wake): void {
  const { state, facts } = draft;
  if (state.status === "creating") draft.state = { ...state, wake: state.wake ?? wake };
  if (state.status !== "error") return;
  if (facts.now < state.retry_at) {
    tell(draft, failedFrame(state, facts.now));
    return;
  }
  const next: Of<"creating"> = { ...commonOf(state), status: "creating", since: facts.now, message: "", wake };
  become(draft, next, "somebody waits for it: what it needs is prepared anew");
}

export function onPreparationDue(draft: Draft, state: Of<"creating">): void {
  if (draft.facts.now < state.since + DATABASE_DEADLINES.creating.after_ms) return;
  const why = state.message === "" ? "" : `: ${state.message}`;
  fail(draft, "not_prepared", `what it needs could not be prepared${why}`, false);
}
