/** What a keeper has done since it started. */
export type Counters = {
  /** Of writers' logs, on disk. */
  log_bytes_total: number;
  /** What arrived at once and was put on disk at once, by how long that took: how many of a bucket, and not of the one before it. */
  syncs: number[];
  syncs_total: number;
  sync_seconds_total: number;
  bases_total: number;
  bases_failed_total: number;
};

/** Upper bounds, in seconds: a commit waits for this. The last bucket is what took longer. */
export const SYNC_BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1] as const;

export const noCounts = (): Counters => ({
  log_bytes_total: 0,
  syncs: [...SYNC_BUCKETS_S, Number.POSITIVE_INFINITY].map(() => 0),
  syncs_total: 0,
  sync_seconds_total: 0,
  bases_total: 0,
  bases_failed_total: 0,
});

export function countSync(counters: Counters, bytes: number, seconds: number): void {
  const at = SYNC_BUCKETS_S.findIndex((most) => seconds <= most);
  const bucket = at === -1 ? SYNC_BUCKETS_S.length : at;
  counters.syncs[bucket] = (counters.syncs[bucket] ?? 0) + 1;
  counters.syncs_total++;
  counters.sync_seconds_total += seconds;
  counters.log_bytes_total += bytes;
}

export async function countBase<T>(counters: Counters, taking: Promise<T>): Promise<T> {
  try {
    const taken = await taking;
    counters.bases_total++;
    return taken;
  } catch (error) {
    counters.bases_failed_total++;
    throw error;
  }
}
