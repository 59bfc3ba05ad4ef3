import type { AllowedActions } from "../../contract/action.ts";
import type { DatabaseState } from "../../contract/database-state.ts";
import { type Reply, refuse } from "../../contract/problem.ts";
import { note } from "../note.ts";
import type { Draft } from "./draft.ts";

/** Commits that were acknowledged, and that nobody has any more: its owner may say to start without them. */

/** Null when they are known to be lost. While it failed for another reason, a host or a keeper that comes back may have them yet. */
export function whyNothingToAccept(state: DatabaseState): string | null {
  if (state.status !== "error") return `not possible while ${state.status}`;
  if (state.code !== "not_restorable") return `the last start failed with ${state.code}: nothing is known to be lost`;
  return state.served_term > 0 ? null : "it has never taken a connection: there is nothing of its own to lose";
}

export function refusalOfLoss(name: string, state: DatabaseState): Reply<never> | null {
  const why = whyNothingToAccept(state);
  return why === null
    ? null
    : refuse("action_not_allowed", `${name}: ${why}.`, { more: { resource_status: state.status } });
}

/** In place of what the table of actions says, which knows the status only. */
export function acceptLossAction(state: DatabaseState): AllowedActions {
  const reason = whyNothingToAccept(state);
  if (state.status !== "error" || reason === null) return {};
  return { accept_loss: { allowed: false, code: "nothing_lost", reason } };
}

export function onAcceptLoss(draft: Draft): void {
  const { state, facts } = draft;
  if (state.status !== "error" || whyNothingToAccept(state) !== null) return;
  draft.state = { ...state, accept_loss: true, retry_at: facts.now };
  note(draft, "warning", "api", "loss_accepted", "the next start is with what there is, though commits are missing");
}
