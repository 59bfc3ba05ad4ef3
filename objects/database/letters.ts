import { DATABASE_DEADLINES } from "../../contract/database.ts";
import type { DatabaseState } from "../../contract/database-state.ts";
import { isGone, needsHost } from "./deletion.ts";
import type { DatabaseFacts } from "./draft.ts";
import { CLOSE_WITHIN_MS, idleAt } from "./idle.ts";

/** What there is to say because of the state, one subject each. Said when it is new, and again when a deadline was over. */
export function subjects(state: DatabaseState, facts: DatabaseFacts): Set<string> {
  const keys = new Set<string>();
  const { term } = state;
  for (const { host_id, term: of, lease_until } of state.leaving)
    if (lease_until === null) keys.add(`withdraw ${host_id} ${of}`);
  switch (state.status) {
    case "creating":
      keys.add("prepare");
      break;
    case "booting":
      if (state.step.name === "placing") {
        const asked = Object.keys(state.refused).length + Object.keys(state.unfit).length;
        keys.add(`place ${state.attempt} ${asked}`);
      }
      if (state.step.name === "offered") keys.add(`offer ${term}`);
      break;
    case "ready":
      if (state.closing !== null) keys.add(`close ${term} ${state.closing}`);
      if (state.installed !== facts.credential) keys.add(`install ${term} ${facts.credential}`);
      if (state.reader !== facts.reader) keys.add(`reader ${term} ${facts.reader ?? "none"}`);
      break;
    case "deleting":
      if (state.discarding !== null) keys.add(`discard ${state.discarding.term}`);
      if (needsHost(state)) keys.add("place 0 0");
      if (isGone(state)) keys.add("purge");
      break;
    default:
      break;
  }
  return keys;
}

/** What is asked only when nothing was heard for long. */
export function questions(state: DatabaseState): Set<string> {
  const keys = new Set(state.leaving.map(({ host_id, term }) => `withdraw ${host_id} ${term}`));
  if (state.status === "booting" && state.step.name === "starting") keys.add(`ask ${state.term}`);
  return keys;
}

/** When the state wants to be looked at, ms since 1970; null for a resting database. */
export function deadlineOf(state: DatabaseState, facts: DatabaseFacts): number | null {
  switch (state.status) {
    case "creating":
      return state.since + DATABASE_DEADLINES.creating.after_ms;
    case "booting":
      return Math.min(state.look_at, state.since + DATABASE_DEADLINES.booting.after_ms);
    case "ready":
      if (state.closing !== null) return state.closing + CLOSE_WITHIN_MS;
      return state.quiesce?.until ?? idleAt(state, facts);
    case "stopping":
    case "deleting":
      return state.look_at;
    default:
      return null;
  }
}
