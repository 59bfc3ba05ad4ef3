import type { BaseBackup } from "../contract/keeper.ts";
import { type Lsn, parseLsn, SEGMENT_BYTES, segmentOf } from "../postgres/lsn.ts";

export type RetentionPolicy = {
  /** At least so many base backups are kept, … */
  bases: number;
  /** … and enough to restore to any moment of so long ago. */
  windowMs: number;
  /** A new base backup is taken when so much log, or as much as the last one's size, has come since the last … */
  baseEveryBytes: number;
  /** … or when the last one is so old and a segment or more has come since. */
  baseEveryMs: number;
};

export const DEFAULT_RETENTION: RetentionPolicy = {
  bases: 2,
  windowMs: 7 * 24 * 3600_000,
  baseEveryBytes: 1024 ** 3,
  baseEveryMs: 24 * 3600_000,
};

export function isBaseDue(last: BaseBackup | null, position: Lsn, now: number, policy: RetentionPolicy): boolean {
  if (last === null) return true;
  const since = Number(position - parseLsn(last.start_lsn));
  if (since >= Math.max(policy.baseEveryBytes, last.bytes)) return true;
  return now - last.at >= policy.baseEveryMs && since >= SEGMENT_BYTES;
}

/** The base backups, oldest first, that nothing that has to be kept depends on. */
export function expiredBases(bases: readonly BaseBackup[], now: number, policy: RetentionPolicy): BaseBackup[] {
  const from = now - policy.windowMs;
  // Restoring to the beginning of the window takes the newest one from before it.
  const reachesBack = bases.findLastIndex(({ at }) => at <= from);
  const keepFrom = Math.min(
    Math.max(0, bases.length - Math.max(1, policy.bases)),
    reachesBack === -1 ? 0 : reachesBack,
  );
  return bases.slice(0, keepFrom);
}

/** The first segment that any of these base backups needs. */
export const firstSegmentOf = (bases: readonly BaseBackup[]): number =>
  Math.min(...bases.map(({ start_lsn }) => segmentOf(parseLsn(start_lsn))));
