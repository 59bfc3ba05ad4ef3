/** A position in the write-ahead log, in bytes from its beginning. */
export type Lsn = bigint;

/** The size of a segment. PostgreSQL can be built or initialised with another; the clusters made here never are. */
export const SEGMENT_BYTES = 16 * 1024 * 1024;
const SEGMENT = BigInt(SEGMENT_BYTES);
const SEGMENTS_PER_LOG = 0x1_0000_0000n / SEGMENT;

/** "16/B374D848". Throws on anything else. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (match === null) throw new Error(`'${text}' is not a log position such as 16/B374D848`);
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffff_ffffn).toString(16).toUpperCase()}`;
}

/** The number of the segment that the byte at `lsn` is in. */
export const segmentOf = (lsn: Lsn): number => Number(lsn / SEGMENT);

export const segmentStart = (segment: number): Lsn => BigInt(segment) * SEGMENT;

/** How far into its segment a position is. */
export const offsetInSegment = (lsn: Lsn): number => Number(lsn % SEGMENT);

export const startOfSegmentAt = (lsn: Lsn): Lsn => lsn - (lsn % SEGMENT);

/** The file name that PostgreSQL gives a segment: timeline, log and segment, eight hexadecimal digits each. */
export function segmentName(timeline: number, segment: number): string {
  const log = BigInt(segment) / SEGMENTS_PER_LOG;
  const within = BigInt(segment) % SEGMENTS_PER_LOG;
  return [BigInt(timeline), log, within].map((part) => part.toString(16).toUpperCase().padStart(8, "0")).join("");
}

/** What a segment's file name says; null when it is not one. */
export function parseSegmentName(name: string): { timeline: number; segment: number } | null {
  const match = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/.exec(name);
  if (match === null) return null;
  const [timeline, log, within] = match.slice(1).map((part) => BigInt(`0x${part}`)) as [bigint, bigint, bigint];
  if (within >= SEGMENTS_PER_LOG) return null;
  return { timeline: Number(timeline), segment: Number(log * SEGMENTS_PER_LOG + within) };
}

export const historyName = (timeline: number): string =>
  `${timeline.toString(16).toUpperCase().padStart(8, "0")}.history`;

export const maxLsn = (a: Lsn, b: Lsn): Lsn => (a > b ? a : b);
export const minLsn = (a: Lsn, b: Lsn): Lsn => (a < b ? a : b);
