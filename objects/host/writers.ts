import type { ControlBody } from "../../contract/frame.ts";
import { WRITER_LEASE_MS } from "../../contract/writer.ts";
import { WRITER_LEASE_MARGIN_MS, type WriterRenewal } from "../../contract/writer-task.ts";
import { one } from "./workloads.ts";

/**
 * The leases of the databases' writers on a host. One that should not run any more is not renewed, from the commit that says so on; so
 * whoever has withdrawn it needs to wait no longer than for what was granted before.
 */
export function renewWriters(sql: SqlStorage, { nth, writers }: WriterRenewal, now: number): ControlBody {
  const granted = writers.filter(({ id, generation }) => {
    const row = one(sql, id);
    return row?.want === "running" && row.generation === generation;
  });
  const until = now + WRITER_LEASE_MS + WRITER_LEASE_MARGIN_MS;
  if (granted.length > 0)
    sql.exec("INSERT INTO writer_lease VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET until = ?1", until);
  return { kind: "renewed", nth, writers: granted, ttl_ms: WRITER_LEASE_MS };
}

/** How long a writer that was just withdrawn may still go on, ms. */
export function leaseLeft(sql: SqlStorage, now: number): number {
  const until = sql.exec<{ until: number }>("SELECT until FROM writer_lease").toArray()[0]?.until ?? 0;
  // On a clock that was set back it is no longer than it ever is.
  return Math.min(Math.max(0, until - now), WRITER_LEASE_MS + WRITER_LEASE_MARGIN_MS);
}
