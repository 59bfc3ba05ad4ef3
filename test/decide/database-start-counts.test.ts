// Starts are counted where they happen, and shown as Prometheus' histogram.
import { expect, test } from "vitest";
import { expose } from "../../contract/exposition.ts";
import { failureSeries, type Starts, startSeries, withFailure, withStart } from "../../objects/database/starts.ts";

const start = (rung: number, ms: number, cause: "connection" | "restore" = "connection") => ({ rung, cause, ms });

test("each start is in every bucket from its own on, by rung and cause", () => {
  const [one, other] = [
    [start(3, 80), start(3, 250), start(5, 999_999)],
    [start(3, 251), start(7, 1, "restore")],
  ].map((starts) => starts.reduce<Starts>(withStart, {}));
  const words = new Map<string, number>();
  for (const [word, count] of [...Object.entries(one ?? {}), ...Object.entries(other ?? {})])
    words.set(word, (words.get(word) ?? 0) + count);
  const text = expose([startSeries(words)]);
  const shown = text.split("\n").filter((line) => line.includes('rung="3"'));
  const bucket = (le: string, count: number) =>
    `lamplighter_database_start_seconds_bucket{rung="3",cause="connection",le="${le}"} ${count}`;
  expect(shown).toEqual([
    ...[bucket("0.05", 0), bucket("0.1", 1), bucket("0.25", 2), bucket("0.5", 3), bucket("1", 3), bucket("2.5", 3)],
    ...[bucket("5", 3), bucket("10", 3), bucket("30", 3), bucket("60", 3), bucket("300", 3), bucket("+Inf", 3)],
    'lamplighter_database_start_seconds_sum{rung="3",cause="connection"} 0.581',
    'lamplighter_database_start_seconds_count{rung="3",cause="connection"} 3',
  ]);
  expect(text).toContain('_bucket{rung="5",cause="connection",le="300"} 0\n');
  expect(text).toContain('_bucket{rung="5",cause="connection",le="+Inf"} 1\n');
  expect(text).toContain('_count{rung="7",cause="restore"} 1\n');
});

test("what came to nothing is counted by its reason, beside the starts", () => {
  const reasons = ["keepers_unreachable", "failed", "keepers_unreachable"];
  const counts = withStart(reasons.reduce<Starts>(withFailure, {}), start(3, 80));
  const lines = expose([failureSeries(new Map(Object.entries(counts)))])
    .trim()
    .split("\n")
    .slice(2);
  expect(lines).toEqual([
    'lamplighter_database_failures_total{reason="failed"} 1',
    'lamplighter_database_failures_total{reason="keepers_unreachable"} 2',
  ]);
  expect(expose([startSeries(new Map(Object.entries(counts)))])).toContain('_count{rung="3",cause="connection"} 1\n');
});

test("without any start the series is there, and has no samples", () => {
  expect(expose([startSeries(new Map())])).toMatch(
    /^# HELP lamplighter_database_start_seconds .+\n# TYPE lamplighter_database_start_seconds histogram\n$/,
  );
});
