import type { ControlBody } from "../../contract/frame.ts";
import type { Observation } from "../../contract/workload.ts";
import { post } from "../outbox.ts";
import { observe } from "./assignment.ts";
import { type HostRecord, type SaidProfile, saveProfile } from "./record.ts";
import { restate } from "./restate.ts";

/** What changes of a host, and who must hear of it: the lists, its agent, the owners of its workloads. Call all of it inside `commit`. */

/** The index must hear of it. */
export function touch(sql: SqlStorage, now: number): void {
  sql.exec("UPDATE host SET version = version + 1, updated_at = ?", now);
  post(sql, "index", now);
}

/** Its agent must hear what should run. */
export function desiredChanged(sql: SqlStorage, now: number): void {
  sql.exec("UPDATE host SET desired_revision = desired_revision + 1");
  post(sql, "frames", now);
  touch(sql, now);
}

/** All that should run, for an agent that has said all that it has. */
export function desired(sql: SqlStorage, { desired_revision }: HostRecord): Iterable<ControlBody> {
  sql.exec("UPDATE workload SET unsent = 0 WHERE unsent = 1");
  return restate(sql, desired_revision);
}

export function observed(sql: SqlStorage, observations: readonly Observation[], now: number): void {
  const owners = new Set(observations.flatMap((seen) => observe(sql, seen, now) ?? []));
  for (const owner of owners) post(sql, `owner ${owner}`, now);
  if (owners.size > 0) touch(sql, now);
}

export function profiled(sql: SqlStorage, host: HostRecord, profile: SaidProfile, now: number): void {
  saveProfile(sql, host, profile);
  touch(sql, now);
}
