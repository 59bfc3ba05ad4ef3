import { statfs } from "node:fs/promises";
import { type Sample, type Series, sample } from "../contract/exposition.ts";
import { FollowState, type KeptDatabase } from "../contract/keeper.ts";
import { type Counters, SYNC_BUCKETS_S } from "./counters.ts";

/** What is kept, and what was done, as Prometheus' series. Sums over all databases: which one it is is in `GET /databases`. */
export function series(
  kept: readonly KeptDatabase[],
  counters: Readonly<Counters>,
  { now, freeBytes }: { now: number; freeBytes: number },
): Series[] {
  const gauge = (name: string, help: string, ...samples: Sample[]): Series => one(name, "gauge", help, samples);
  const counter = (name: string, help: string, value: number): Series => one(name, "counter", help, [sample(value)]);
  const failing = kept.flatMap(({ store }) => store.failing_since ?? []);
  const bases = kept.flatMap(({ base }) => base?.at ?? []);
  const age = (moments: readonly number[]): number => (moments.length === 0 ? 0 : (now - Math.min(...moments)) / 1000);
  return [
    gauge(
      "databases",
      "Databases that are kept, by whether their writer is followed",
      ...FollowState.options.map((state) =>
        sample(kept.filter(({ following }) => following.state === state).length, { state }),
      ),
    ),
    gauge(
      "databases_not_restorable",
      "Databases whose commits are not acknowledged, as what is kept could not be restored",
      sample(kept.filter(({ restorable }) => !restorable).length),
    ),
    gauge(
      "pending_segments",
      "Full segments that the object store does not have yet",
      sample(kept.reduce((sum, { store }) => sum + store.pending_segments, 0)),
    ),
    gauge("store_failing_databases", "Databases that cannot be shipped", sample(failing.length)),
    gauge("store_failing_seconds", "Since when the first of them cannot", sample(age(failing))),
    gauge("base_age_seconds", "How old the oldest of the databases' newest base backups is", sample(age(bases))),
    gauge("free_bytes", "Room that is left on the disk of the data folder", sample(freeBytes)),
    counter("log_bytes_total", "Bytes of writers' logs put on disk", counters.log_bytes_total),
    syncs(counters),
    counter("bases_total", "Base backups taken", counters.bases_total),
    counter("bases_failed_total", "Base backups that came to nothing", counters.bases_failed_total),
    gauge("resident_bytes", "Memory of the keeper", sample(process.memoryUsage.rss())),
    gauge("uptime_seconds", "Since the keeper was started", sample(Math.round(process.uptime()))),
  ];
}

/** Bytes that a program without special rights may still write there. */
export async function freeBytesAt(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

function syncs({ syncs: found, syncs_total, sync_seconds_total }: Readonly<Counters>): Series {
  let count = 0;
  const buckets = [...SYNC_BUCKETS_S.map(String), "+Inf"].map((le, i): Sample => {
    count += found[i] ?? 0;
    return { suffix: "_bucket", labels: { le }, value: count };
  });
  return one(
    "sync_seconds",
    "histogram",
    "How long it took to have on disk what a writer sent; its commits wait for it",
    [
      ...buckets,
      { suffix: "_sum", labels: {}, value: sync_seconds_total },
      { suffix: "_count", labels: {}, value: syncs_total },
    ],
  );
}

const one = (name: string, type: Series["type"], help: string, samples: readonly Sample[]): Series => ({
  ...{ name: `lamplighter_keeper_${name}`, type, help, samples },
});
