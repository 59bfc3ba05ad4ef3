import type { SegmentRun } from "../contract/keeper.ts";

export const contains = (runs: readonly SegmentRun[], timeline: number, segment: number): boolean =>
  runs.some((run) => run.timeline === timeline && run.first <= segment && segment <= run.last);

/** Adds a segment, to the run that it continues if there is one. */
export function withSegment(runs: readonly SegmentRun[], added: SegmentRun): SegmentRun[] {
  const at = runs.findLastIndex(
    (run) => run.term === added.term && run.timeline === added.timeline && run.last + 1 === added.first,
  );
  const before = runs[at];
  if (before === undefined) return [...runs, added];
  return runs.with(at, { ...before, last: added.last });
}
