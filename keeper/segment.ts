import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { SEGMENT_BYTES } from "../postgres/lsn.ts";
import { syncFolder } from "./durable-file.ts";

// How a segment that is not full yet is kept. Behind the place of its 16 MiB the file has two marks, written in turn. A mark says which bytes
// the last batch added, with their checksum; it goes out in the same sync as they do, so a batch costs one sync. What was confirmed has been
// synced with its mark before the next batch began to overwrite the other mark. A power cut in the middle of a batch can leave its mark
// without all of its bytes: the checksum shows it, and the mark before it counts.

const MARK_MAGIC = 0x4b4d504c;
const MARK_BYTES = 32;
/** Marks lie on different sectors, so that one torn write cannot spoil both. */
const MARK_EVERY = 4096;
/** Zeroes are written ahead in steps: a sync of bytes that are already allocated needs no change of the file's metadata. */
const AHEAD_BYTES = 1024 * 1024;

export const PARTIAL = ".partial";

/** The segment that is being filled. It is contiguous from its beginning. */
export class OpenSegment {
  readonly #file: FileHandle;
  readonly #path: string;
  #written: number;
  #synced: number;
  #allocated: number;
  #markNumber: number;
  #checksum = 0;

  /** @param path without `.partial` */
  static async create(path: string): Promise<OpenSegment> {
    const file = await open(path + PARTIAL, "w+", 0o600);
    await syncFolder(dirname(path));
    return new OpenSegment(file, path, 0, 0, 0);
  }

  /** Takes up a segment that was being filled, at the end of what was synced. */
  static async recover(path: string): Promise<OpenSegment> {
    const file = await open(path + PARTIAL, "r+");
    const marks = (await Promise.all([readMark(file, 0), readMark(file, 1)]))
      .filter((mark) => mark !== null)
      .sort((a, b) => b.number - a.number);
    for (const mark of marks) {
      const bytes = Buffer.alloc(mark.to - mark.from);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, mark.from);
      if (bytesRead === bytes.length && crc32(bytes) === mark.checksum)
        return new OpenSegment(file, path, mark.to, mark.to, mark.number);
    }
    return new OpenSegment(file, path, 0, 0, 0);
  }

  /**
   * After a write or a sync that failed: the kernel may have dropped pages and taken them for written, so a second sync of this file would say
   * nothing. What had been synced goes to a new one.
   */
  static async rewrite(path: string, end: number): Promise<OpenSegment> {
    const old = await open(path + PARTIAL);
    const bytes = Buffer.alloc(end);
    await old.read(bytes, 0, end, 0).finally(() => old.close());
    const fresh = `${path}${PARTIAL}.new`;
    const segment = new OpenSegment(await open(fresh, "w+", 0o600), path, 0, 0, 0);
    try {
      await segment.append(bytes);
      await segment.sync();
      await rename(fresh, path + PARTIAL);
      await syncFolder(dirname(path));
      return segment;
    } catch (error) {
      await segment.close();
      throw error;
    }
  }

  private constructor(file: FileHandle, path: string, end: number, allocated: number, markNumber: number) {
    this.#file = file;
    this.#path = path;
    this.#written = end;
    this.#synced = end;
    this.#allocated = allocated;
    this.#markNumber = markNumber;
  }

  /** How far it is filled, and how far of that is on disk. */
  get written(): number {
    return this.#written;
  }

  get synced(): number {
    return this.#synced;
  }

  async append(data: Buffer): Promise<void> {
    const end = this.#written + data.length;
    if (end > SEGMENT_BYTES) throw new Error("a piece of the log goes over the end of its segment");
    if (end > this.#allocated) await this.#allocate(end);
    await this.#write(data, this.#written);
    this.#checksum = crc32(data, this.#checksum);
    this.#written = end;
  }

  async sync(): Promise<void> {
    if (this.#written === this.#synced) return;
    const mark = Buffer.alloc(MARK_BYTES);
    mark.writeUInt32LE(MARK_MAGIC, 0);
    mark.writeBigUInt64LE(BigInt(this.#markNumber + 1), 4);
    mark.writeUInt32LE(this.#synced, 12);
    mark.writeUInt32LE(this.#written, 16);
    mark.writeUInt32LE(this.#checksum, 20);
    mark.writeUInt32LE(crc32(mark.subarray(0, 24)), 24);
    await this.#write(mark, markAt(this.#markNumber + 1));
    await this.#file.datasync();
    this.#markNumber++;
    this.#synced = this.#written;
    this.#checksum = 0;
  }

  /** It is full: gives it its final name, and cuts the marks off. */
  async finish(): Promise<void> {
    await this.sync();
    await rename(this.#path + PARTIAL, this.#path);
    await syncFolder(dirname(this.#path));
    // Last: under its final name a file counts as full, with marks or without them.
    await this.#file.truncate(SEGMENT_BYTES);
    await this.#file.close();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #allocate(end: number): Promise<void> {
    const to = Math.min(SEGMENT_BYTES, Math.ceil(end / AHEAD_BYTES) * AHEAD_BYTES);
    // What lies behind the last mark after a crash counts for nothing, and goes.
    const from = Math.max(this.#allocated, this.#written);
    await this.#write(Buffer.alloc(to - from), from);
    this.#allocated = to;
  }

  async #write(data: Buffer, at: number): Promise<void> {
    let done = 0;
    while (done < data.length) done += (await this.#file.write(data, done, data.length - done, at + done)).bytesWritten;
  }
}

type Mark = { number: number; from: number; to: number; checksum: number };

async function readMark(file: FileHandle, slot: number): Promise<Mark | null> {
  const mark = Buffer.alloc(MARK_BYTES);
  const { bytesRead } = await file.read(mark, 0, MARK_BYTES, markAt(slot));
  if (bytesRead < MARK_BYTES || mark.readUInt32LE(0) !== MARK_MAGIC) return null;
  if (mark.readUInt32LE(24) !== crc32(mark.subarray(0, 24))) return null;
  const [from, to] = [mark.readUInt32LE(12), mark.readUInt32LE(16)];
  if (from > to || to > SEGMENT_BYTES) return null;
  return { number: Number(mark.readBigUInt64LE(4)), from, to, checksum: mark.readUInt32LE(20) };
}

const markAt = (number: number): number => SEGMENT_BYTES + (number % 2) * MARK_EVERY;
