import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { createZstdDecompress } from "node:zlib";
import { StoreManifest } from "../contract/keeper.ts";
import { formatLsn, parseLsn, segmentName, segmentStart, startOfSegmentAt } from "../postgres/lsn.ts";
import { replaceFile } from "./durable-file.ts";
import { DATABASES, manifestKey, segmentKey, tailKey } from "./object-key.ts";
import { OpenSegment } from "./segment.ts";
import { type DatabaseState, readState, unknownDatabase, writeState } from "./state.ts";
import type { Surroundings } from "./surroundings.ts";

/** Shows that this folder has been a keeper's before. */
const MARK = "taken-up";

/**
 * On a new folder, takes up what the object store has of this keeper's databases: it lost its disk. What came after the last shipment is not
 * there, so none of it counts as the log of a writer: it can be continued by the writer's own copy, or restored on a person's word.
 */
export async function adoptAll(around: Surroundings): Promise<void> {
  const { store, name, log, dataDir } = around;
  if ((await stat(join(dataDir, MARK)).catch(() => null)) !== null) return;
  const end = `/${name}/manifest.json`;
  for await (const key of store.list(DATABASES)) {
    if (!key.endsWith(end)) continue;
    const id = key.slice(DATABASES.length, -end.length);
    const known = await readState(folderOf(around, id));
    if (known !== null && known.timeline > 0) continue;
    const at = await adopt(around, id, known ?? unknownDatabase(id));
    log(`${id}: taken up from the object store, ${at}`);
  }
  await replaceFile(join(dataDir, MARK), `${new Date(around.now()).toISOString()}\n`);
}

async function adopt(around: Surroundings, id: string, known: DatabaseState): Promise<string> {
  const { store, name } = around;
  const text = await read(await store.get(manifestKey(id, name)));
  const manifest = StoreManifest.parse(JSON.parse(text.toString("utf8")));
  const { timeline, histories, bases, segments, tail, system_identifier, terms } = manifest;
  const [oldest] = bases;
  if (oldest === undefined || timeline === 0) return "which has no base backup of it";
  const folder = folderOf(around, id);
  const wal = join(folder, "wal");
  await mkdir(wal, { recursive: true, mode: 0o700 });
  for (const [file, history] of Object.entries(histories)) await replaceFile(join(wal, file), history);
  const last = segments.findLast((run) => run.timeline === timeline);
  let end = parseLsn(bases.at(-1)?.end_lsn ?? oldest.end_lsn);
  // The log goes on behind what is on disk here, so its end has to be.
  if (tail) {
    const bytes = await unpacked(await store.get(tailKey(id, name, tail)));
    const segment = await OpenSegment.create(join(wal, segmentName(tail.timeline, tail.segment)));
    await segment.append(bytes);
    await segment.sync();
    await segment.close();
    end = segmentStart(tail.segment) + BigInt(tail.bytes);
  } else if (last) {
    const bytes = await unpacked(await store.get(segmentKey(id, name, last.term, timeline, last.last)));
    await replaceFile(join(wal, segmentName(timeline, last.last)), bytes);
    end = segmentStart(last.last + 1);
  }
  const state: DatabaseState = {
    ...known,
    promised_term: Math.max(known.promised_term, manifest.promised_term),
    ...{ writer_term: 0, system_identifier, timeline, terms, bases },
    begin: { timeline: oldest.timeline, lsn: formatLsn(startOfSegmentAt(parseLsn(oldest.start_lsn))) },
    heard_at: manifest.written_at,
    shipped: { segments, bases: bases.map((base) => base.id), tail },
  };
  await writeState(folder, state);
  return `up to ${formatLsn(end)} of ${new Date(manifest.written_at).toISOString()}`;
}

const folderOf = (around: Surroundings, id: string): string => join(around.dataDir, "databases", id);

async function read(stream: Readable | null): Promise<Buffer> {
  if (stream === null) throw new Error("the object store lacks what its manifest lists");
  return buffer(stream);
}

async function unpacked(stream: Readable | null): Promise<Buffer> {
  if (stream === null) throw new Error("the object store lacks what its manifest lists");
  const plain = createZstdDecompress();
  const [bytes] = await Promise.all([buffer(plain), pipeline(stream, plain)]);
  return bytes;
}
