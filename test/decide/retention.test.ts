import { describe, expect, test } from "vitest";
import type { BaseBackup } from "../../contract/keeper.ts";
import { type Holdings, planRestore } from "../../keeper/restore-plan.ts";
import { DEFAULT_RETENTION, expiredBases, isBaseDue } from "../../keeper/retention.ts";
import { formatLsn, SEGMENT_BYTES, segmentName } from "../../postgres/lsn.ts";

const DAY = 24 * 3600_000;
const SEGMENT = BigInt(SEGMENT_BYTES);

const base = (id: string, at: number, start: bigint, timeline = 1, length = 1000n): BaseBackup => ({
  ...{ id, kind: "hot", term: 1, timeline, at, bytes: 40_000_000, stored_bytes: 4, sha256: "", postgres_version: "18" },
  ...{ start_lsn: formatLsn(start), end_lsn: formatLsn(start + length) },
});

describe("which base backups are kept", () => {
  const policy = { ...DEFAULT_RETENTION, bases: 2, windowMs: 7 * DAY };
  const daily = (days: number) => Array.from({ length: days }, (_, i) => base(`b${i}`, i * DAY, BigInt(i) * SEGMENT));

  test("the newest from before the window, and all since", () => {
    expect(expiredBases(daily(20), 20 * DAY, policy).map(({ id }) => id)).toEqual(
      Array.from({ length: 13 }, (_, i) => `b${i}`),
    );
  });

  test("so many at least, however old they are; and all while none is older than the window", () => {
    expect(expiredBases(daily(3), 300 * DAY, policy).map(({ id }) => id)).toEqual(["b0"]);
    expect(expiredBases(daily(5), 5 * DAY, policy)).toEqual([]);
    expect(expiredBases([], 0, policy)).toEqual([]);
    expect(expiredBases(daily(3), 300 * DAY, { ...policy, bases: 0, windowMs: 0 }).length).toBe(2);
  });

  test("a new one is due after much log, or a day with some; a database at rest gets none", () => {
    const last = base("b", 0, 0n);
    expect(isBaseDue(null, 0n, 0, policy)).toBe(true);
    expect(isBaseDue(last, 1024n ** 3n - 1n, DAY - 1, policy)).toBe(false);
    expect(isBaseDue(last, 1024n ** 3n, 0, policy)).toBe(true);
    expect(isBaseDue({ ...last, bytes: 5 * 1024 ** 3 }, 1024n ** 3n, 0, policy)).toBe(false);
    expect(isBaseDue(last, SEGMENT, DAY, policy)).toBe(true);
    expect(isBaseDue(last, SEGMENT - 1n, 100 * DAY, policy)).toBe(false);
  });
});

describe("what a restore takes", () => {
  const holdings: Holdings = {
    ...{ database: "db", system_identifier: "1", begin: 0n, end: 5n * SEGMENT + 700n, has: () => true },
    // Timeline 2 began in the middle of segment 2, timeline 4 in that of segment 4.
    lineage: [
      { timeline: 1, until: 2n * SEGMENT + 500n },
      { timeline: 2, until: 4n * SEGMENT + 10n },
      { timeline: 4, until: null },
    ],
    bases: [base("first", 100, 0n), base("over", 150, 2n * SEGMENT, 1, 900n), base("second", 200, 3n * SEGMENT, 2)],
  };
  const files = (plan: ReturnType<typeof planRestore>) => (typeof plan === "string" ? plan : plan.segments);

  test("the newest base backup, every segment of the youngest timeline that has it, and the part of the last one", () => {
    const plan = planRestore(holdings, null);
    expect(plan).toMatchObject({
      base: { id: "second" },
      timeline: 4,
      history: ["00000002.history", "00000004.history"],
    });
    expect(files(plan)).toEqual([
      { file: segmentName(2, 3), bytes: SEGMENT_BYTES },
      { file: segmentName(4, 4), bytes: SEGMENT_BYTES },
      { file: segmentName(4, 5), bytes: 700 },
    ]);
  });

  test("a base backup that goes over the point where its timeline was left is never used", () => {
    expect(planRestore(holdings, { time: 199 })).toMatchObject({ base: { id: "first" } });
    expect(planRestore({ ...holdings, bases: [base("over", 150, 2n * SEGMENT, 1, 900n)] }, null)).toContain(
      "no base backup",
    );
  });

  test("a moment before the oldest, a position behind the end, a segment that is missing: why not", () => {
    expect(planRestore(holdings, { time: 99 })).toContain("was taken after that");
    expect(planRestore(holdings, { lsn: formatLsn(6n * SEGMENT) })).toContain("the log ends at");
    expect(planRestore({ ...holdings, has: (_, segment) => segment !== 3 }, null)).toBe(
      `the segment ${segmentName(2, 3)} is missing`,
    );
    expect(planRestore({ ...holdings, begin: SEGMENT, bases: holdings.bases.slice(0, 1) }, null)).toContain(
      "no base backup",
    );
  });
});
