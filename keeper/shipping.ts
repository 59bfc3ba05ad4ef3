import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { constants, zstdCompress } from "node:zlib";
import type { KeptDatabase, SegmentRun, StoreManifest } from "../contract/keeper.ts";
import {
  formatLsn,
  offsetInSegment,
  parseLsn,
  parseSegmentName,
  SEGMENT_BYTES,
  segmentName,
  segmentOf,
  segmentStart,
} from "../postgres/lsn.ts";
import { timelineAt } from "../postgres/replication/timeline.ts";
import type { Database } from "./database.ts";
import { isThere, removeFile } from "./durable-file.ts";
import { baseKey, databasePrefix, manifestKey, segmentKey, tailKey } from "./object-key.ts";
import { expiredBases, firstSegmentOf } from "./retention.ts";
import { PARTIAL } from "./segment.ts";
import { contains, withSegment } from "./segment-run.ts";
import type { Shipping } from "./shipper.ts";
import type { DatabaseState } from "./state.ts";
import type { Surroundings } from "./surroundings.ts";

const compress = promisify(zstdCompress);
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 30_000;

type Tail = NonNullable<StoreManifest["tail"]>;

/**
 * Brings one database's full segments and base backups to the object store, then removes what nobody needs, there and here. It follows what
 * is on disk: a keeper that was killed goes on where it was, and an object that was put without being noted is put again.
 */
export class Shipper implements Shipping {
  readonly #around: Surroundings;
  readonly #database: Database;
  readonly #closing = new AbortController();
  #wanted = false;
  #working: Promise<void> | null = null;
  #failure: { since: number; error: string } | null = null;
  #pending = 0;
  #tailAt = 0;
  #timer: NodeJS.Timeout;
  /** What is full, on disk here. Read anew at each shipment, and added to meanwhile. */
  #local = new Set<string>();

  constructor(around: Surroundings, database: Database) {
    this.#around = around;
    this.#database = database;
    this.#timer = setInterval(() => {
      // Of a database at rest everything is there already, and nothing is to be done.
      if (database.state.writer) this.kick();
    }, around.tailEveryMs);
    this.#timer.unref();
  }

  kick(): void {
    this.#wanted = true;
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
  }

  status(): KeptDatabase["store"] {
    const { segments, tail } = this.#database.state.shipped;
    const last = segments.at(-1);
    const end = tail
      ? segmentStart(tail.segment) + BigInt(tail.bytes)
      : last === undefined
        ? null
        : segmentStart(last.last + 1);
    return {
      shipped_lsn: end === null ? null : formatLsn(end),
      pending_segments: this.#pending,
      failing_since: this.#failure?.since ?? null,
      error: this.#failure?.error ?? null,
    };
  }

  has(timeline: number, segment: number): boolean {
    return (
      this.#local.has(segmentName(timeline, segment)) ||
      contains(this.#database.state.shipped.segments, timeline, segment)
    );
  }

  filled(timeline: number, segments: readonly number[]): void {
    for (const segment of segments) this.#local.add(segmentName(timeline, segment));
    this.kick();
  }

  /** Resolves when everything that was to be shipped has been, or was tried in vain. */
  async settled(): Promise<void> {
    await this.#working;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await this.#working;
  }

  async readLocal(): Promise<void> {
    const files = await readdir(this.#database.walFolder);
    this.#local = new Set(files.filter((file) => parseSegmentName(file) !== null));
  }

  async #work(): Promise<void> {
    const { log, now, shipments } = this.#around;
    let wait = RETRY_FIRST_MS;
    while (this.#wanted && !this.#closing.signal.aborted) {
      this.#wanted = false;
      try {
        await shipments.run(() => this.#ship());
        if (this.#failure) log(`${this.#database.id}: the object store works again`);
        this.#failure = null;
        wait = RETRY_FIRST_MS;
      } catch (error) {
        const { message } = error as Error;
        if (message !== this.#failure?.error) log(`${this.#database.id}: not shipped: ${message}`);
        this.#failure = { since: this.#failure?.since ?? now(), error: message };
        this.#wanted = true;
        await sleep(wait * (0.5 + Math.random() / 2), undefined, { signal: this.#closing.signal }).catch(() => {});
        wait = Math.min(2 * wait, RETRY_MOST_MS);
      }
    }
  }

  async #ship(): Promise<void> {
    const database = this.#database;
    // Of nothing there is no manifest to be written over one that may be in the store.
    if (database.state.timeline === 0) return;
    await this.readLocal();
    const full = this.#unshipped();
    this.#pending = full.length;
    for (const { timeline, segment } of full) {
      if (this.#closing.signal.aborted) return;
      await this.#shipSegment(timeline, segment);
      this.#pending--;
    }
    for (const base of database.state.bases.filter(({ id }) => !database.state.shipped.bases.includes(id))) {
      await this.#around.store.putFile(baseKey(database.id, this.#around.name, base.id), database.basePath(base.id));
      await database.update(({ shipped, bases }) =>
        bases.some(({ id }) => id === base.id) ? { shipped: { ...shipped, bases: [...shipped.bases, base.id] } } : {},
      );
    }
    await this.#shipTail();
    await this.#writeManifest(database.state);
    if (database.state.unswept) await this.#sweep();
    await this.#expire();
    await this.#clearLocal();
  }

  /** The full segments that lead to the present end of the log and are not in the store. */
  #unshipped(): { timeline: number; segment: number }[] {
    const { state } = this.#database;
    const line = this.#database.holdings()?.lineage ?? [];
    return [...this.#local]
      .flatMap((name) => parseSegmentName(name) ?? [])
      .filter(
        ({ timeline, segment }) =>
          line.length > 0 &&
          timelineAt(line, segmentStart(segment + 1) - 1n) === timeline &&
          !contains(state.shipped.segments, timeline, segment),
      )
      .sort((a, b) => a.segment - b.segment);
  }

  async #shipSegment(timeline: number, segment: number): Promise<void> {
    const { store, name } = this.#around;
    const database = this.#database;
    const term = Math.max(1, database.state.writer_term);
    const { begin } = database.state;
    const bytes = (await readFile(database.segmentPath(timeline, segment))).subarray(0, SEGMENT_BYTES);
    await store.put(segmentKey(database.id, name, term, timeline, segment), await packed(bytes));
    const run: SegmentRun = { term, timeline, first: segment, last: segment };
    // A log that began anew meanwhile has other segments of that name.
    await database.update(({ shipped, begin: now }) =>
      now === begin ? { shipped: { ...shipped, segments: withSegment(shipped.segments, run) } } : {},
    );
  }

  /** The beginning of the segment that is being filled: at once when the writer is off, otherwise now and then. */
  async #shipTail(): Promise<void> {
    const { store, name, now, tailEveryMs } = this.#around;
    const database = this.#database;
    const { state, position } = database;
    const { begin } = state;
    if (position === null) return;
    if (state.writer && now() - this.#tailAt < tailEveryMs) return;
    const bytes = offsetInSegment(position);
    const old = state.shipped.tail;
    const timeline = state.timeline;
    const segment = segmentOf(position);
    let tail: Tail | null = null;
    if (bytes > 0) {
      if (old?.timeline === timeline && old.segment === segment && old.bytes === bytes) return;
      const path = database.segmentPath(timeline, segment);
      const content = await readFile(path + PARTIAL).catch(() => readFile(path));
      tail = { term: Math.max(1, state.writer_term), timeline, segment, bytes };
      await store.put(tailKey(database.id, name, tail), await packed(content.subarray(0, bytes)));
    }
    await database.update(({ shipped, begin: now }) => (now === begin ? { shipped: { ...shipped, tail } } : {}));
    this.#tailAt = now();
    if (old === null) return;
    await this.#writeManifest(database.state);
    await store.remove(tailKey(database.id, name, old));
  }

  async #writeManifest(state: DatabaseState): Promise<void> {
    const { store, name, now } = this.#around;
    const histories: Record<string, string> = {};
    for (const file of await readdir(this.#database.walFolder))
      if (file.endsWith(".history")) histories[file] = await readFile(join(this.#database.walFolder, file), "utf8");
    const { id, promised_term, writer_term, system_identifier, timeline, terms, bases, shipped } = state;
    const manifest: StoreManifest = {
      ...{ version: 1, database: id, keeper: name, written_at: now() },
      ...{ promised_term, writer_term, system_identifier, timeline, terms, histories },
      bases: bases.filter((base) => shipped.bases.includes(base.id)),
      ...{ segments: shipped.segments, tail: shipped.tail },
    };
    await store.put(manifestKey(id, name), Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`));
  }

  /** Removes every object that the manifest does not list. */
  async #sweep(): Promise<void> {
    const { store, name } = this.#around;
    const { id, state } = this.#database;
    const listed = new Set([
      manifestKey(id, name),
      ...state.shipped.bases.map((base) => baseKey(id, name, base)),
      ...state.shipped.segments.flatMap(({ term, timeline, first, last }) =>
        Array.from({ length: last - first + 1 }, (_, i) => segmentKey(id, name, term, timeline, first + i)),
      ),
      ...(state.shipped.tail ? [tailKey(id, name, state.shipped.tail)] : []),
    ]);
    for await (const key of store.list(databasePrefix(id, name))) if (!listed.has(key)) await store.remove(key);
    await this.#database.update(() => ({ unswept: false }));
  }

  /** What retention does not ask for leaves the manifest first, and then the store. */
  async #expire(): Promise<void> {
    const { store, name, retention, now } = this.#around;
    const database = this.#database;
    const gone = expiredBases(database.state.bases, now(), retention);
    if (gone.length === 0) return;
    const kept = database.state.bases.filter((base) => !gone.includes(base));
    const first = firstSegmentOf(kept);
    const dropped = database.state.shipped.segments.filter((run) => run.first < first);
    await database.update((state) => ({
      bases: state.bases.filter(({ id }) => !gone.some((base) => base.id === id)),
      begin: state.begin && beginAt(state.begin, kept[0]),
      shipped: {
        ...state.shipped,
        bases: state.shipped.bases.filter((id) => !gone.some((base) => base.id === id)),
        segments: state.shipped.segments.flatMap((run) =>
          run.last < first ? [] : [{ ...run, first: Math.max(first, run.first) }],
        ),
      },
    }));
    await this.#writeManifest(database.state);
    for (const base of gone) {
      await store.remove(baseKey(database.id, name, base.id));
      await removeFile(database.basePath(base.id));
    }
    for (const { term, timeline, first: from, last } of dropped)
      for (let segment = from; segment <= Math.min(last, first - 1); segment++)
        await store.remove(segmentKey(database.id, name, term, timeline, segment));
  }

  /** On this disk stays what the newest base backup needs; the rest of what was shipped can be had from the store. */
  async #clearLocal(): Promise<void> {
    const database = this.#database;
    const { state } = database;
    const newest = state.bases.at(-1);
    const line = database.holdings()?.lineage ?? [];
    if (newest === undefined || line.length === 0) return;
    // The last full one shows where the log goes on.
    const first = Math.min(firstSegmentOf([newest]), segmentOf(database.position ?? 0n) - 1);
    for (const file of await readdir(database.walFolder)) {
      const segment = parseSegmentName(file.replace(PARTIAL, ""));
      if (segment === null) continue;
      const isOff = segment.timeline < state.timeline && !this.#isOnLine(segment);
      const isOld = segment.segment < first && contains(state.shipped.segments, segment.timeline, segment.segment);
      if (isOff || isOld) await removeFile(join(database.walFolder, file));
    }
    for (const base of state.bases.slice(0, -1))
      if (state.shipped.bases.includes(base.id) && (await isThere(database.basePath(base.id))))
        await removeFile(database.basePath(base.id));
    await this.readLocal();
  }

  /** Whether a segment's end counts: that of an older timeline beyond the branch does not, and up to it the younger timeline has a copy. */
  #isOnLine({ timeline, segment }: { timeline: number; segment: number }): boolean {
    const line = this.#database.holdings()?.lineage ?? [];
    return timelineAt(line, segmentStart(segment + 1) - 1n) === timeline;
  }
}

function packed(bytes: Buffer): Promise<Buffer> {
  return compress(bytes, {
    params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 },
  });
}

function beginAt(begin: NonNullable<DatabaseState["begin"]>, oldest: DatabaseState["bases"][number] | undefined) {
  if (oldest === undefined || parseLsn(oldest.start_lsn) <= parseLsn(begin.lsn)) return begin;
  const lsn = formatLsn(segmentStart(segmentOf(parseLsn(oldest.start_lsn))));
  return { timeline: oldest.timeline, lsn };
}
