import type { BaseBackup, RestorePlan, RestoreTarget } from "../contract/keeper.ts";
import {
  formatLsn,
  historyName,
  type Lsn,
  offsetInSegment,
  parseLsn,
  SEGMENT_BYTES,
  segmentName,
  segmentOf,
  segmentStart,
} from "../postgres/lsn.ts";
import { type Lineage, timelineAt } from "../postgres/replication/timeline.ts";

export type Holdings = {
  database: string;
  system_identifier: string;
  /** The timelines whose log leads to the present one. */
  lineage: Lineage;
  /** From here to `end` nothing is missing. */
  begin: Lsn;
  end: Lsn;
  bases: readonly BaseBackup[];
  /** Whether a full segment can be had, from here or from the object store. */
  has: (timeline: number, segment: number) => boolean;
};

/** The base backups from which the present end of the log can be reached, oldest first. */
export function usableBases({ lineage, begin, end, bases }: Omit<Holdings, "has" | "database">): BaseBackup[] {
  return bases.filter((base) => {
    const [from, to] = [parseLsn(base.start_lsn), parseLsn(base.end_lsn)];
    // One that goes over the point where its timeline was left holds what never counted.
    const isOnLine = timelineAt(lineage, from) === base.timeline && timelineAt(lineage, to - 1n) === base.timeline;
    return from >= begin && to <= end && isOnLine;
  });
}

/** What has to be fetched to restore up to a target; a text is why that cannot be. */
export function planRestore(holdings: Holdings, target: RestoreTarget): RestorePlan | string {
  const { lineage, end, has } = holdings;
  const bases = usableBases(holdings);
  if (bases.length === 0) return "there is no base backup yet from which the log could be replayed";
  const until = target !== null && "lsn" in target ? parseLsn(target.lsn) : end;
  if (until > end) return `the log ends at ${formatLsn(end)}`;
  const base = bases.findLast(
    (each) => parseLsn(each.end_lsn) <= until && (target === null || "lsn" in target || each.at <= target.time),
  );
  if (base === undefined) return "the oldest base backup that is kept was taken after that";
  const segments: RestorePlan["segments"] = [];
  const lastByte = end - 1n;
  for (let segment = segmentOf(parseLsn(base.start_lsn)); segment <= segmentOf(lastByte); segment++) {
    const isLast = segment === segmentOf(lastByte);
    const bytes = isLast ? offsetInSegment(lastByte) + 1 : SEGMENT_BYTES;
    // A segment in which a timeline branched is there twice; the younger one has all that counts of both.
    const timeline = timelineAt(lineage, isLast ? lastByte : segmentStart(segment + 1) - 1n);
    if (bytes === SEGMENT_BYTES && !has(timeline, segment))
      return `the segment ${segmentName(timeline, segment)} is missing`;
    segments.push({ file: segmentName(timeline, segment), bytes });
  }
  return {
    database: holdings.database,
    system_identifier: holdings.system_identifier,
    base,
    timeline: lineage.at(-1)?.timeline ?? base.timeline,
    end_lsn: formatLsn(end),
    target,
    history: lineage.filter(({ timeline }) => timeline > 1).map(({ timeline }) => historyName(timeline)),
    segments,
  };
}
