import { watch } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import type { LogQuery } from "../../contract/frame.ts";
import { instanceId } from "../../contract/id.ts";
import type { LogLine } from "../../contract/workload.ts";
import { levelOf } from "../level.ts";
import { type Folders, isSafeId, names, removeFolder } from "./folder.ts";

const BLOCK = 64 * 1024;
const BATCH_LINES = 500;
/** How long a reader that follows relies on notifications before it looks by itself, ms. */
const LOOK_AGAIN_MS = 1_000;
const NEWLINE = 10;

/** How much is kept of the generations before, in all. */
const OLDER_MOST = 64 * 1024 ** 2;

/** Deletes the logs of the oldest generations beyond what is kept: a workload that ends again and again must not fill the disk. */
export async function pruneLogs(folders: Folders, id: string): Promise<void> {
  if (!isSafeId(id)) return;
  let bytes = 0;
  for (const generation of (await folders.loggedGenerations(id)).reverse()) {
    const folder = folders.logs(id, generation);
    for (const name of await names(folder))
      bytes += await stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      );
    if (bytes > OLDER_MOST) await removeFolder(folder);
  }
}

/** A place in the logs of a workload: a generation's numbered file, and the byte from which to read. */
type Place = { generation: number; file: number; offset: number };

/**
 * The lines of a workload, all generations up to the asked one, oldest first, over rotations. With `follow` it goes on until the signal
 * aborts, and then gives what is still unread.
 */
export async function* readLogs(folders: Folders, query: LogQuery, abort: AbortSignal): AsyncGenerator<LogLine[]> {
  const { workload_id: id, generation: upTo, tail, since, follow } = query;
  let place = tail === null ? await firstPlace(folders, id, upTo) : await tailPlace(folders, id, upTo, tail);
  // Nothing is there yet: it begins where the asked generation will.
  place ??= { generation: upTo, file: 1, offset: 0 };
  for (;;) {
    const last = abort.aborted || !follow;
    const change = last ? null : nextChange(folders.logs(id, place.generation), abort);
    try {
      for (;;) {
        for await (const { lines, offset } of linesFrom(folders, id, place)) {
          place.offset = offset;
          const wanted = since === null ? lines : lines.filter((line) => Date.parse(line.timestamp) >= since);
          for (let at = 0; at < wanted.length; at += BATCH_LINES) yield wanted.slice(at, at + BATCH_LINES);
        }
        const next: Place | null = await placeAfter(folders, id, place, upTo);
        if (next === null) break;
        // What was written to this file between its end being read and the next being begun.
        for await (const { lines } of linesFrom(folders, id, place)) {
          const wanted = since === null ? lines : lines.filter((line) => Date.parse(line.timestamp) >= since);
          if (wanted.length > 0) yield wanted;
        }
        place = next;
      }
      if (last) return;
      await change?.promise;
    } finally {
      change?.end();
    }
  }
}

/** Whole lines from a place to the present end of its file, with the offset after them. */
async function* linesFrom(
  folders: Folders,
  id: string,
  place: Place,
): AsyncGenerator<{ lines: LogLine[]; offset: number }> {
  const file = await openLog(folders, id, place);
  if (!file) return;
  try {
    const instance = instanceId(id, place.generation);
    let { offset } = place;
    let rest: Buffer = Buffer.alloc(0);
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(BLOCK), 0, BLOCK, offset + rest.length);
      if (bytesRead === 0) return;
      const data = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      const end = data.lastIndexOf(NEWLINE) + 1;
      rest = data.subarray(end);
      if (end === 0) continue;
      offset += end;
      const texts = data.toString("utf8", 0, end - 1).split("\n");
      yield { lines: texts.map((text) => parseLine(instance, text)).filter((line) => line !== null), offset };
    }
  } finally {
    await file.close();
  }
}

/** A line as the shim writes it: when it came, `o` or `e`, the text. */
function parseLine(instance: string, text: string): LogLine | null {
  const match = /^(\d+) ([oe]) /.exec(text);
  if (!match) return null;
  const rest = text.slice(match[0].length);
  const message = rest.endsWith("\r") ? rest.slice(0, -1) : rest;
  return {
    instance,
    stream: match[2] === "o" ? "stdout" : "stderr",
    message,
    level: levelOf(message),
    timestamp: new Date(Number(match[1])).toISOString(),
  };
}

async function fileNumbers(folders: Folders, id: string, generation: number): Promise<number[]> {
  const found = await names(folders.logs(id, generation));
  return found
    .map((name) => Number.parseInt(name, 10))
    .filter((number) => number > 0)
    .sort((a, b) => a - b);
}

async function everyPlace(folders: Folders, id: string, upTo: number): Promise<Place[]> {
  const places: Place[] = [];
  for (const generation of await folders.loggedGenerations(id)) {
    if (generation > upTo) continue;
    for (const file of await fileNumbers(folders, id, generation)) places.push({ generation, file, offset: 0 });
  }
  return places;
}

const firstPlace = async (folders: Folders, id: string, upTo: number): Promise<Place | null> =>
  (await everyPlace(folders, id, upTo))[0] ?? null;

async function placeAfter(folders: Folders, id: string, place: Place, upTo: number): Promise<Place | null> {
  const places = await everyPlace(folders, id, upTo);
  const { generation, file } = place;
  return (
    places.find((next) => next.generation > generation || (next.generation === generation && next.file > file)) ?? null
  );
}

/** Where the last `count` lines begin. */
async function tailPlace(folders: Folders, id: string, upTo: number, count: number): Promise<Place | null> {
  const places = await everyPlace(folders, id, upTo);
  let left = count;
  for (const [index, place] of [...places.entries()].reverse()) {
    const file = await openLog(folders, id, place);
    if (!file) continue;
    try {
      const { size } = await file.stat();
      const { lines, offset } = await linesBack(file, size, left);
      if (left === lines || index === 0) return { ...place, offset };
      left -= lines;
    } finally {
      await file.close();
    }
  }
  return null;
}

/** The offset at which the last `count` whole lines of a file begin, and how many lines these are. */
async function linesBack(file: FileHandle, size: number, count: number): Promise<{ lines: number; offset: number }> {
  const block = Buffer.alloc(BLOCK);
  // Each newline ends a line; the one that ends the line before the first wanted one is looked for.
  let newlines = 0;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - BLOCK);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    for (let at = bytesRead - 1; at >= 0; at--) {
      if (block[at] === NEWLINE && newlines++ === count) return { lines: count, offset: start + at + 1 };
    }
    end = start;
  }
  return { lines: newlines, offset: 0 };
}

async function openLog(folders: Folders, id: string, { generation, file }: Place): Promise<FileHandle | null> {
  const path = join(folders.logs(id, generation), `${String(file).padStart(8, "0")}.log`);
  return open(path, "r").catch(() => null);
}

/** Resolves when something in a folder changes, the signal aborts, or a while has passed. */
function nextChange(folder: string, abort: AbortSignal): { promise: Promise<void>; end: () => void } {
  let done = (): void => {};
  const promise = new Promise<void>((resolve) => {
    done = resolve;
  });
  const timer = setTimeout(done, LOOK_AGAIN_MS);
  abort.addEventListener("abort", done, { once: true });
  let watcher: ReturnType<typeof watch> | null = null;
  try {
    watcher = watch(folder, { persistent: false }, done);
    watcher.on("error", done);
  } catch {
    // Not there yet, or out of watches: the timer is enough.
  }
  const end = (): void => {
    clearTimeout(timer);
    abort.removeEventListener("abort", done);
    watcher?.close();
  };
  return { promise, end };
}
