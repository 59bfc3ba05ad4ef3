import type { Observation, Workload } from "../../contract/workload.ts";
import { obstacle } from "./admission.ts";
import type { HostRecord } from "./record.ts";
import { holderOf, isNews, one, put, type WorkloadRow } from "./workloads.ts";

/** What owners ask of a host about their workloads, and what the agent tells; each is a change of the workload table, inside `commit`. */

export type Assigned = { accepted: true } | { accepted: false; message: string };

/** A row for a withdrawn workload that never came is kept this long, ms: no offer of it is under way any longer than that. */
const FENCE_MS = 3_600_000;

/** Takes a workload, or says why not. The same generation again is accepted again. */
export function assign(sql: SqlStorage, host: HostRecord, workload: Workload, now: number): Assigned {
  const row = one(sql, workload.id);
  if (row && row.generation >= workload.generation) {
    return row.generation === workload.generation && row.want === "running"
      ? { accepted: true }
      : { accepted: false, message: "was told meanwhile that it is not wanted" };
  }
  const older =
    row && row.spec !== null && row.observation?.phase !== "exited" && row.observation?.phase !== "failed"
      ? row.spec
      : null;
  const message = obstacle(workload.spec, {
    status: host.state.status,
    scheduling: host.state.scheduling,
    runtimes: host.profile.runtimes,
    capacity: host.profile.capacity,
    reserved: {
      memory_bytes: host.reserved.memory_bytes - (older?.memory_reserved_bytes ?? 0),
      cpu_millis: host.reserved.cpu_millis - (older?.cpu_reserved_millis ?? 0),
    },
    holderOf: (port) => holderOf(sql, port, workload.id),
  });
  if (message !== null) return { accepted: false, message };
  const { id, generation, owner, probing = null, spec } = workload;
  const seen = { observation: null, unsent: true, untold: false };
  put(sql, id, { id, generation, owner, want: "running", probing, spec, ...seen }, now);
  return { accepted: true };
}

/**
 * This generation must be gone. Answers `gone` when nothing of it is here, or a newer one took its place (its agent removes the older one
 * first). One that never came is remembered, so that an offer still under way is refused.
 */
export function withdraw(
  sql: SqlStorage,
  owner: string,
  { id, generation }: { id: string; generation: number },
  now: number,
): "gone" | "going" {
  const row = one(sql, id);
  if (row === null) {
    sql.exec("DELETE FROM workload WHERE spec IS NULL AND at < ?", now - FENCE_MS);
    put(sql, id, fence(id, generation, owner, now), now);
    return "gone";
  }
  if (row.generation > generation) return "gone";
  if (row.observation?.phase === "gone" || row.spec === null) {
    put(sql, id, { ...row, generation }, now);
    return "gone";
  }
  if (row.want === "running" || row.generation < generation)
    put(sql, id, { ...row, want: "gone", generation, observation: null, unsent: true }, now);
  return "going";
}

const fence = (id: string, generation: number, owner: string, now: number): WorkloadRow => ({
  id,
  generation,
  owner,
  want: "gone",
  probing: null,
  spec: null,
  observation: { phase: "gone", id, generation, at: now },
  unsent: false,
  untold: false,
});

/** Notes what the agent saw. Answers the owner when it is news for it. */
export function observe(sql: SqlStorage, seen: Observation, now: number): string | null {
  const row = one(sql, seen.id);
  if (!row || !isNews(row, seen)) return null;
  put(sql, row.id, { ...row, observation: seen, untold: true }, now);
  return row.owner;
}

/** The owner was told what these rows said; what is gone is forgotten, and what has changed meanwhile stays to be told. */
export function told(sql: SqlStorage, rows: readonly WorkloadRow[], now: number): void {
  for (const row of rows) {
    const present = one(sql, row.id);
    if (!present || JSON.stringify(present.observation) !== JSON.stringify(row.observation)) continue;
    const finished = present.want === "gone" && present.observation?.phase === "gone";
    put(sql, row.id, finished ? null : { ...present, untold: false }, now);
  }
}
