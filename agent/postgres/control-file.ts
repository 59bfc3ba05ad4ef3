import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatLsn, type Lsn, offsetInSegment, SEGMENT_BYTES, segmentName, segmentOf } from "../../postgres/lsn.ts";

// The layout of pg_control is PostgreSQL's own; these members have been at these places in all versions from 15 to 18.
const AT = { systemIdentifier: 0, state: 16, checkpoint: 32, redo: 40, timeline: 48 };
const STATES = [
  "starting up",
  "shut down",
  "shut down in recovery",
  "shutting down",
  "in crash recovery",
  "in archive recovery",
  "in production",
] as const;

export type ControlFile = {
  systemIdentifier: string;
  state: (typeof STATES)[number] | "unknown";
  /** Where the last checkpoint's record begins, and from where replay would. */
  checkpoint: Lsn;
  redo: Lsn;
  timeline: number;
};

/** What a data folder says of itself; null when there is none, or what is there cannot be believed. */
export async function readControlFile(pgdata: string): Promise<ControlFile | null> {
  const bytes = await readFile(join(pgdata, "global", "pg_control")).catch(() => null);
  if (bytes === null || checksumPlace(bytes) === null) return null;
  return {
    systemIdentifier: bytes.readBigUInt64LE(AT.systemIdentifier).toString(),
    state: STATES[bytes.readUInt32LE(AT.state)] ?? "unknown",
    checkpoint: bytes.readBigUInt64LE(AT.checkpoint),
    redo: bytes.readBigUInt64LE(AT.redo),
    timeline: bytes.readUInt32LE(AT.timeline),
  };
}

const PAGE_BYTES = 8192n;
const PAGE_HEADER = 24n;
const SEGMENT_HEADER = 40n;
/** A checkpoint's record is far shorter; anything else read there is not its length. */
const MOST_RECORD = 4096;

/** The end of the log of a cluster that was shut down: the end of its shutdown checkpoint's record. */
export async function endOfLog(pgdata: string, { checkpoint, timeline }: ControlFile): Promise<Lsn> {
  const name = segmentName(timeline, segmentOf(checkpoint));
  const file = await open(join(pgdata, "pg_wal", name)).catch((error: NodeJS.ErrnoException) => {
    throw error.code === "ENOENT" ? new Error(`segment ${name} is missing`) : error;
  });
  try {
    const head = Buffer.alloc(4);
    await file.read(head, 0, 4, offsetInSegment(checkpoint));
    const length = head.readUInt32LE(0);
    if (length < 24 || length > MOST_RECORD) throw new Error(`there is no checkpoint at ${formatLsn(checkpoint)}`);
    return endOfRecord(checkpoint, BigInt(Math.ceil(length / 8) * 8));
  } finally {
    await file.close();
  }
}

/** Where a record of so many bytes ends: a page that it goes over into begins with a header. */
export function endOfRecord(start: Lsn, length: bigint): Lsn {
  const room = PAGE_BYTES - (start % PAGE_BYTES);
  if (length <= room) return start + length;
  const next = start + room;
  const header = next % BigInt(SEGMENT_BYTES) === 0n ? SEGMENT_HEADER : PAGE_HEADER;
  return next + header + (length - room);
}

/**
 * Gives a copy of a cluster that was shut down an identity of its own: in its control file, and in the first page of each segment of its log.
 * Otherwise every copy of a template would pass for every other.
 */
export function withSystemIdentifier(controlFile: Buffer, identifier: bigint): Buffer {
  const changed = Buffer.from(controlFile);
  const at = checksumPlace(controlFile);
  if (at === null) throw new Error("the control file has no valid checksum");
  changed.writeBigUInt64LE(identifier, AT.systemIdentifier);
  changed.writeUInt32LE(crc32c(changed.subarray(0, at)), at);
  return changed;
}

/** Where the system identifier is in a segment's first page. */
export const IDENTIFIER_IN_SEGMENT = 24;

/** The checksum follows the last member, and how many there are differs by version: it is where it fits. */
function checksumPlace(controlFile: Buffer): number | null {
  for (let at = 64; at <= Math.min(508, controlFile.length - 4); at += 4)
    if (controlFile.readUInt32LE(at) === crc32c(controlFile.subarray(0, at))) return at;
  return null;
}

const CRC32C = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** CRC-32C (Castagnoli), the one that PostgreSQL uses; Node has only the other CRC-32. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = (CRC32C[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return (crc ^ 0xffff_ffff) >>> 0;
}
