import type { StartView } from "../../contract/database.ts";
import type { Sample, Series } from "../../contract/exposition.ts";

/** Upper bounds of the histogram's buckets, ms. */
const BUCKETS_MS = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000] as const;
const BEYOND = "+Inf";

/**
 * What a database counts of its starts, by word: how many of a rung and a cause came within a bucket and not the one before it, and how long
 * all of them took together; and how many came to nothing, by the reason. Told to the lists as a tally, and summed by who asks.
 */
export type Starts = Record<string, number>;

type Counted = Pick<StartView, "rung" | "cause" | "ms">;

export function withStart(starts: Starts, { rung, cause, ms }: Counted): Starts {
  const bucket = BUCKETS_MS.find((most) => ms <= most) ?? BEYOND;
  const head = `start ${rung} ${cause}`;
  const more = (word: string, by: number) => ({ [word]: (starts[word] ?? 0) + by });
  return { ...starts, ...more(`${head} ${bucket}`, 1), ...more(`${head} sum`, ms) };
}

/** Counts that the database went to `error`, and why. */
export const withFailure = (starts: Starts, code: string): Starts => ({
  ...starts,
  [`failed ${code}`]: (starts[`failed ${code}`] ?? 0) + 1,
});

export function failureSeries(words: ReadonlyMap<string, number>): Series {
  const samples = [...words].flatMap(([word, count]): Sample[] => {
    const reason = /^failed (.+)$/.exec(word)?.[1];
    return reason === undefined ? [] : [{ labels: { reason }, value: count }];
  });
  return {
    name: "lamplighter_database_failures_total",
    type: "counter",
    help: "Times that a database went to error, by the reason",
    samples: samples.sort((a, b) => ((a.labels.reason ?? "") < (b.labels.reason ?? "") ? -1 : 1)),
  };
}

/** The words of all databases, summed, as Prometheus' histogram: cumulative, in seconds. */
export function startSeries(words: ReadonlyMap<string, number>): Series {
  const kinds = new Set([...words.keys()].flatMap((word) => /^start (\d+ \w+) /.exec(word)?.[1] ?? []));
  const samples = [...kinds].sort().flatMap((kind): Sample[] => {
    const [rung = "", cause = ""] = kind.split(" ");
    const of = (last: string | number) => words.get(`start ${kind} ${last}`) ?? 0;
    let count = 0;
    const buckets = [...BUCKETS_MS, BEYOND].map((most) => {
      count += of(most);
      const le = typeof most === "number" ? String(most / 1000) : most;
      return part("_bucket", count, { rung, cause, le });
    });
    return [...buckets, part("_sum", of("sum") / 1000, { rung, cause }), part("_count", count, { rung, cause })];
  });
  return {
    name: "lamplighter_database_start_seconds",
    type: "histogram",
    help: "Starts of databases by the rung of the start ladder and what they were for, from when they were asked for until PostgreSQL took connections",
    samples,
  };
}

const part = (suffix: Sample["suffix"] & string, value: number, labels: Sample["labels"]): Sample => ({
  ...{ labels, value, suffix },
});
