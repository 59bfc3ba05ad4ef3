import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { createZstdDecompress } from "node:zlib";
import { parseSegmentName, segmentName } from "../postgres/lsn.ts";
import type { Database } from "./database.ts";
import { isThere } from "./durable-file.ts";
import { baseKey, segmentKey } from "./object-key.ts";
import { PARTIAL } from "./segment.ts";
import { contains } from "./segment-run.ts";
import type { Surroundings } from "./surroundings.ts";

const READ_BYTES = 512 * 1024;

/** A base backup's file, from here or from the object store. */
export async function readBase(around: Surroundings, database: Database, id: string): Promise<Readable | null> {
  const base = database.state.bases.find((each) => each.id === id);
  if (base === undefined) return null;
  const path = database.basePath(id);
  if (await isThere(path)) return createReadStream(path, { highWaterMark: READ_BYTES });
  return around.store.get(baseKey(database.id, around.name, id));
}

/** The first bytes of a segment, or a history file. */
export async function readLog(
  around: Surroundings,
  database: Database,
  file: string,
  bytes: number,
): Promise<Readable | null> {
  if (/^[0-9A-F]{8}\.history$/.test(file)) {
    const path = `${database.walFolder}/${file}`;
    return (await isThere(path)) ? createReadStream(path) : null;
  }
  const segment = parseSegmentName(file);
  if (segment === null) return null;
  const path = database.segmentPath(segment.timeline, segment.segment);
  // What was full a moment ago may have just lost its `.partial`.
  for (const local of [path, path + PARTIAL, path]) {
    const handle = await open(local).catch(() => null);
    if (handle) return handle.createReadStream({ start: 0, end: bytes - 1, highWaterMark: READ_BYTES });
  }
  const { segments } = database.state.shipped;
  if (!contains(segments, segment.timeline, segment.segment)) return null;
  const run = segments.findLast((each) => contains([each], segment.timeline, segment.segment));
  const key = segmentKey(database.id, around.name, run?.term ?? 0, segment.timeline, segment.segment);
  const stored = await around.store.get(key);
  if (stored === null)
    throw new Error(`${segmentName(segment.timeline, segment.segment)} is listed, and not in the store`);
  return stored.pipe(createZstdDecompress({ chunkSize: READ_BYTES })).on("error", () => stored.destroy());
}
