import type { Note, Observation } from "../../contract/workload.ts";
import { note } from "../note.ts";
import type { Draft } from "./draft.ts";

/** Since when copies of it can be made. It changes as the keepers take base backups and drop old ones. */
export function hearRestorable(draft: Draft, observation: Observation): void {
  const since = observation.phase === "running" ? observation.start?.restorable_since : undefined;
  if (since !== undefined && since !== draft.state.restorable_since)
    draft.state = { ...draft.state, restorable_since: since };
}

/** What the host of a ready writer says is wrong with it: commits that wait for keepers, a full disk. Nothing is done about it, but it is told. */
export function hearNotes(draft: Draft, notes: readonly Note[]): void {
  const { state } = draft;
  if (state.status !== "ready") return;
  const before = state.notes ?? [];
  if (JSON.stringify(before) === JSON.stringify(notes)) return;
  const has = (some: readonly Note[], { code }: Note): boolean => some.some((each) => each.code === code);
  for (const each of notes) if (!has(before, each)) note(draft, "warning", "agent", each.code, each.message);
  for (const each of before)
    if (!has(notes, each)) note(draft, "info", "agent", `${each.code}_over`, `no longer so: ${each.message}`);
  draft.state = { ...state, notes: [...notes] };
}
