import { createHash } from "node:crypto";
import type { EngineHealth } from "../../contract/engine.ts";
import type { EngineVitals, ReplicationState, ReportBody } from "../../contract/instance-report.ts";

/** What an engine says of itself, in the words of the control plane. */
export function vitalsOf({ replication, snapshot_id, rows, memory, last_query_at }: EngineHealth): EngineVitals {
  const { reason } = replication;
  return {
    replication: stateOf(replication),
    ...(reason === null ? {} : { message: `${reason.code}: ${reason.message}`.slice(0, 4000) }),
    snapshot_age_ms: replication.age_ms,
    swap_count: snapshot_id,
    row_counts: rows,
    memory_bytes: Math.round(memory.used_mb * 1024 ** 2),
    source_position: replication.position?.slice(0, 1000) ?? null,
    last_query_at,
  };
}

/** That it is behind by a little is no state of replication there. */
function stateOf({ state, mode }: EngineHealth["replication"]): ReplicationState {
  switch (state) {
    case "live":
    case "catching_up":
      return mode === "poll" ? "polling" : "live";
    case "starting":
      return "loading";
    default:
      return state;
  }
}

export function loadedReport({ rows, load: { verified } }: EngineHealth): Extract<ReportBody, { kind: "loaded" }> {
  const counts = Object.values(rows);
  const loaded = { kind: "loaded" as const, rows: counts.reduce((sum, each) => sum + each, 0), tables: counts.length };
  return verified === null ? loaded : { ...loaded, verified: { tables: verified.tables, samples: verified.samples } };
}

/** In what the source differs from what was built. */
export function driftReport({ drift }: EngineHealth): Extract<ReportBody, { kind: "drift" }> {
  const changes = drift.slice(0, 1000).map(({ detail }) => detail.slice(0, 1000));
  return { kind: "drift", schema_hash: createHash("sha256").update(JSON.stringify(drift)).digest("hex"), changes };
}
