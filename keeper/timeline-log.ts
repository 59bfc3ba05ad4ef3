import { access, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type Lsn,
  offsetInSegment,
  parseSegmentName,
  SEGMENT_BYTES,
  segmentName,
  segmentOf,
  segmentStart,
  startOfSegmentAt,
} from "../postgres/lsn.ts";
import type { Piece } from "../postgres/replication/stream.ts";
import { OpenSegment, PARTIAL } from "./segment.ts";

/** The writer's log is not a continuation of what is kept here: following it would mix two histories. */
export class Diverged extends Error {}

/** One timeline's log in a folder of segments. It has no holes from its first segment on. */
export class TimelineLog {
  readonly timeline: number;
  readonly #folder: string;
  #open: OpenSegment | null;
  #segment: number;
  /** A write or a sync of the open segment failed. */
  #isSpoiled = false;

  /** Takes up what is there; where nothing is, it begins with the segment of `begin`. */
  static async open(folder: string, timeline: number, begin: Lsn): Promise<TimelineLog> {
    const found = (await readdir(folder))
      .map((file) => ({ partial: file.endsWith(PARTIAL), name: parseSegmentName(file.replace(PARTIAL, "")) }))
      .flatMap(({ partial, name }) => (name?.timeline === timeline ? [{ partial, segment: name.segment }] : []))
      .sort((a, b) => b.segment - a.segment || Number(a.partial) - Number(b.partial));
    const [last] = found;
    if (last === undefined) return new TimelineLog(folder, timeline, segmentOf(begin), null);
    if (!last.partial) return new TimelineLog(folder, timeline, last.segment + 1, null);
    const path = join(folder, segmentName(timeline, last.segment));
    const segment = await OpenSegment.recover(path);
    if (segment.synced < SEGMENT_BYTES) return new TimelineLog(folder, timeline, last.segment, segment);
    await segment.finish();
    return new TimelineLog(folder, timeline, last.segment + 1, null);
  }

  /** Begins with the segment of `at`; whatever is there of this timeline from an attempt that did not come to its end is removed. */
  static async begin(folder: string, timeline: number, at: Lsn): Promise<TimelineLog> {
    for (const file of await readdir(folder))
      if (parseSegmentName(file.replace(PARTIAL, ""))?.timeline === timeline) await rm(join(folder, file));
    return new TimelineLog(folder, timeline, segmentOf(at), null);
  }

  private constructor(folder: string, timeline: number, segment: number, open: OpenSegment | null) {
    this.#folder = folder;
    this.timeline = timeline;
    this.#segment = segment;
    this.#open = open;
  }

  /** Up to where it is on disk. */
  get position(): Lsn {
    return segmentStart(this.#segment) + BigInt(this.#open?.synced ?? 0);
  }

  /**
   * Takes in pieces, and answers the segments that became full. Bytes before the end of what is here are compared with it. Call `sync`
   * before telling anyone.
   */
  async append(pieces: readonly Piece[]): Promise<number[]> {
    if (this.#isSpoiled) await this.#mend();
    const full: number[] = [];
    for (const { start, data } of pieces) {
      const end = this.#end();
      if (start > end) throw new Diverged(`the writer left out the log from ${end} to ${start}`);
      const known = Number(end - start);
      if (known > 0) await this.#compare(start, data.subarray(0, known));
      let rest = data.subarray(Math.min(known, data.length));
      while (rest.length > 0) {
        this.#open ??= await OpenSegment.create(this.#path);
        const segment = this.#open;
        const room = rest.subarray(0, SEGMENT_BYTES - segment.written);
        await this.#orSpoiled(segment.append(room));
        rest = rest.subarray(room.length);
        if (segment.written < SEGMENT_BYTES) continue;
        await this.#orSpoiled(segment.finish());
        full.push(this.#segment++);
        this.#open = null;
      }
    }
    return full;
  }

  async sync(): Promise<void> {
    if (this.#open) await this.#orSpoiled(this.#open.sync());
  }

  async close(): Promise<void> {
    await this.#open?.close();
    this.#open = null;
  }

  get #path(): string {
    return join(this.#folder, segmentName(this.timeline, this.#segment));
  }

  async #orSpoiled<T>(work: Promise<T>): Promise<T> {
    return work.catch((error: Error) => {
      this.#isSpoiled = true;
      throw error;
    });
  }

  async #mend(): Promise<void> {
    const spoiled = this.#open;
    await spoiled?.close().catch(() => {});
    const isFinished = await access(this.#path).then(
      () => true,
      () => false,
    );
    if (isFinished) {
      this.#segment++;
      this.#open = null;
    } else if (spoiled) this.#open = await OpenSegment.rewrite(this.#path, spoiled.synced);
    this.#isSpoiled = false;
  }

  #end(): Lsn {
    return segmentStart(this.#segment) + BigInt(this.#open?.written ?? 0);
  }

  async #compare(start: Lsn, data: Buffer): Promise<void> {
    for (let at = start, rest = data; rest.length > 0; ) {
      const part = rest.subarray(0, Number(startOfSegmentAt(at) - at) + SEGMENT_BYTES);
      const kept = await this.#read(at, part.length);
      if (kept !== null && !kept.equals(part)) throw new Diverged("the writer's log differs from what is kept");
      at += BigInt(part.length);
      rest = rest.subarray(part.length);
    }
  }

  /** Null when the segment is not here any more. */
  async #read(at: Lsn, length: number): Promise<Buffer | null> {
    const path = join(this.#folder, segmentName(this.timeline, segmentOf(at)));
    const file = await open(path).catch(() => open(path + PARTIAL).catch(() => null));
    if (file === null) return null;
    try {
      const bytes = Buffer.alloc(length);
      await file.read(bytes, 0, length, offsetInSegment(at));
      return bytes;
    } finally {
      await file.close();
    }
  }
}
