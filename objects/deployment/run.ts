import { type DeploymentIdentity, type DeploymentState, isTerminal } from "../../contract/deployment.ts";
import type { Standing } from "../../contract/schedule.ts";
import { remote } from "../remote.ts";
import { isPurged } from "../tombstone.ts";
import { load } from "./record.ts";

/** A deployment that is a run of a schedule. */

/** Whether its schedule must be told: the run has come to its end, or is being deleted. */
export const endsRun = (
  { owner_schedule }: DeploymentIdentity,
  before: DeploymentState | null,
  { status }: DeploymentState,
): boolean => owner_schedule !== undefined && status !== before?.status && (status === "deleted" || isTerminal(status));

/** Tells its schedule how it stands, when it has one. */
export async function tellSchedule(
  env: Pick<Env, "SCHEDULE">,
  { id, owner_schedule }: DeploymentIdentity,
  { status, message }: Standing,
): Promise<void> {
  if (owner_schedule !== undefined) await remote(env.SCHEDULE, owner_schedule).runStands(id, { status, message });
}

export const UNKNOWN: Standing = { status: "unknown", message: "not known" };

/** How it stands, also when it is purged. */
export function standingOf(sql: SqlStorage): Standing {
  const state = load(sql)?.state;
  if (state) return { status: state.status, message: state.message };
  return isPurged(sql) ? { status: "gone", message: "deleted" } : UNKNOWN;
}
