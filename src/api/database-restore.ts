import type { DatabaseRestore, DatabaseView, RestoredFrom } from "../../contract/database.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { refuseBody } from "../violations.ts";

/** Why no copy of a database can be made, of whatever moment; null when one can. */
export function whyNotRestorable({ name, state, term, durability, allowedActions }: DatabaseView): string | null {
  if (durability.kind !== "keepers") return "It has no keepers, so nothing is kept of what it was.";
  if (!allowedActions.restore?.allowed) return `${name} is ${state}.`;
  return term === 0 ? `${name} was never started: there is nothing in it yet.` : null;
}

/** Up to where the log of a source is replayed. Leaves with what is wrong with a moment that cannot be given. */
export function restoreTarget(
  { time, lsn }: Omit<DatabaseRestore, "name">,
  { restorable_since, created_at }: DatabaseView,
  now: number,
): RestoredFrom["target"] {
  if (lsn !== undefined) return { lsn };
  if (time === undefined) return { time: now };
  const at = Date.parse(time);
  const earliest = restorable_since ?? created_at;
  const refuse = (message: string, code: string) => refuseBody([{ property_path: "time", message, code }]);
  if (at > now) refuse(`is in the future; it is ${timestamp(now)} now`, "time.future");
  if (at < Date.parse(earliest)) refuse(`the earliest moment that is kept is ${earliest}`, "time.too_early");
  return { time: at };
}
