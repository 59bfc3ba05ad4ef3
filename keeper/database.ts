import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import type {
  BaseBackup,
  FollowState,
  KeptDatabase,
  RestorePlan,
  RestoreTarget,
  SeedQuery,
  WriterAddress,
} from "../contract/keeper.ts";
import { formatLsn, historyName, type Lsn, maxLsn, parseLsn, segmentName, startOfSegmentAt } from "../postgres/lsn.ts";
import type { System } from "../postgres/replication/commands.ts";
import { type Lineage, lineage, parseHistory } from "../postgres/replication/timeline.ts";
import { takeBackup } from "./backup.ts";
import { countBase, countSync } from "./counters.ts";
import { replaceFile, syncFolder } from "./durable-file.ts";
import { beginning, connect, type Follower, follow, type Histories, verify } from "./follow.ts";
import { type Holdings, planRestore, usableBases } from "./restore-plan.ts";
import { isBaseDue } from "./retention.ts";
import { roomAt } from "./room.ts";
import { NOBODY, type Shipping } from "./shipper.ts";
import { type DatabaseState, unknownDatabase, writeState } from "./state.ts";
import type { Surroundings } from "./surroundings.ts";
import { refuseOlder } from "./term.ts";
import { Diverged, TimelineLog } from "./timeline-log.ts";
import { Upload } from "./upload.ts";
import { WriterLease } from "./writer-lease.ts";

/** What cannot be done now, though the request is right. */
export class Unready extends Error {}

type Following = { state: FollowState; since: number; reason: string | null };

/** One database's log, and the writer that it is taken from. */
export class Database {
  readonly id: string;
  readonly folder: string;
  readonly walFolder: string;
  shipping: Shipping = NOBODY;
  #state: DatabaseState;
  #log: TimelineLog | null = null;
  #lineage: Lineage = [];
  #around: Surroundings;
  readonly #lease: WriterLease;
  #following: Following = { state: "off", since: 0, reason: null };
  #follower: { stop: AbortController; done: Promise<void> } | null = null;
  #queue: Promise<unknown> = Promise.resolve();
  #backup: Promise<BaseBackup> | null = null;
  readonly #upload = new Upload();
  #heardAt: number | null;
  #writes: Promise<unknown> = Promise.resolve();

  static async open(around: Surroundings, id: string, known: DatabaseState | null): Promise<Database> {
    const state = known ?? unknownDatabase(id);
    const database = new Database(around, state);
    await mkdir(database.walFolder, { recursive: true, mode: 0o700 });
    await database.#openLog();
    if (state.writer) database.#startFollowing(state.writer);
    return database;
  }

  private constructor(around: Surroundings, state: DatabaseState) {
    this.id = state.id;
    this.folder = join(around.dataDir, "databases", state.id);
    this.walFolder = join(this.folder, "wal");
    this.#around = around;
    this.#lease = new WriterLease(around.startedAt);
    this.#state = state;
    this.#heardAt = state.heard_at;
  }

  get state(): DatabaseState {
    return this.#state;
  }

  get position(): Lsn | null {
    return this.#log?.position ?? null;
  }

  status(): KeptDatabase {
    const state = this.#state;
    const { state: doing, since, reason } = this.#following;
    return {
      id: this.id,
      keeper: this.#around.name,
      promised_term: state.promised_term,
      writer_term: state.writer_term,
      remembers_since: state.remembers_since,
      system_identifier: state.system_identifier,
      timeline: state.timeline,
      flush_lsn: this.#log === null ? null : formatLsn(this.#log.position),
      restorable: this.#isRestorable(),
      following: { state: doing, term: state.writer?.term ?? null, since: since === 0 ? null : since, reason },
      lease_left_ms: this.#lease.leftMs(performance.now()),
      base: state.bases.at(-1) ?? null,
      heard_at: this.#heardAt,
      store: this.shipping.status(),
    };
  }

  /** From its return on nothing is acknowledged under a lower term: that is on disk, and whoever was followed is not any more. */
  promise(term: number): Promise<KeptDatabase> {
    return this.#inTurn(async () => {
      refuseOlder(term, this.#state.promised_term);
      if (term > this.#state.promised_term) {
        await this.#upload.stop("a later term was promised");
        await roomAt(this.folder);
        await this.#stopFollowing();
        await this.#commit(() => ({ ...this.#promised(term), writer: null }));
      }
      return this.status();
    });
  }

  /** The writer of this term may go on. The answer to the promise of a later one counts that in. */
  lease(term: number): boolean {
    return this.#lease.give(term, this.#state.promised_term, performance.now());
  }

  follow(writer: WriterAddress): Promise<KeptDatabase> {
    return this.#inTurn(async () => {
      refuseOlder(writer.term, this.#state.promised_term);
      const isSame = JSON.stringify(writer) === JSON.stringify(this.#state.writer);
      if (isSame && this.#follower && this.#following.state !== "diverged" && this.#following.state !== "waiting")
        return this.status();
      await this.#stopFollowing();
      await this.#commit(() => ({ ...this.#promised(writer.term), writer }));
      this.#startFollowing(writer);
      return this.status();
    });
  }

  /** The writer of this term is off. What was said of a later one stays. */
  release(term: number): Promise<KeptDatabase> {
    return this.#inTurn(async () => {
      refuseOlder(term, this.#state.promised_term);
      await this.#stopFollowing();
      await this.#commit(() => ({ ...this.#promised(term), writer: null, heard_at: this.#heardAt }));
      this.shipping.kick();
      return this.status();
    });
  }

  /** Begins the log with a cluster that was never run as a writer. */
  async seed(query: SeedQuery, from: Readable): Promise<KeptDatabase> {
    const { system_identifier, timeline, start_lsn, end_lsn, postgres_version } = query;
    const id = baseId(query.term, timeline, parseLsn(start_lsn));
    this.#refuseSeed(query);
    const sent = this.basePath(`${id}-sent`);
    const { storedBytes, sha256 } = await this.#upload.take(sent, from);
    return this.#inTurn(async () => {
      this.#refuseSeed(query);
      await rename(sent, this.basePath(id));
      await syncFolder(dirname(sent));
      const base: BaseBackup = {
        ...{ id, kind: "cold", term: query.term, timeline, start_lsn, end_lsn, at: this.#around.now() },
        ...{ bytes: query.bytes, stored_bytes: storedBytes, sha256, postgres_version },
      };
      await this.#log?.close();
      this.#log = await TimelineLog.begin(this.walFolder, timeline, parseLsn(start_lsn));
      await this.#commit(() => ({
        ...{ ...this.#promised(query.term), system_identifier, timeline, bases: [base] },
        begin: { timeline, lsn: formatLsn(startOfSegmentAt(parseLsn(start_lsn))) },
      }));
      await this.#readLineage();
      this.shipping.kick();
      return this.status();
    });
  }

  #refuseSeed({ term }: SeedQuery): void {
    refuseOlder(term, this.#state.promised_term);
    if (this.#state.terms.length > 0 || this.#state.writer) throw new Unready("a writer has begun its log already");
  }

  /** A base backup of the running writer. Those who ask while one is being taken get that one. */
  takeBase(): Promise<BaseBackup> {
    this.#backup ??= this.#takeBase().finally(() => {
      this.#backup = null;
    });
    return this.#backup;
  }

  async plan(target: RestoreTarget): Promise<RestorePlan | string> {
    // A segment may have become full as the follower was stopped.
    await this.shipping.readLocal();
    const holdings = this.holdings();
    return holdings === null ? "there is no log of it" : planRestore(holdings, target);
  }

  holdings(): Holdings | null {
    const { begin, system_identifier } = this.#state;
    if (this.#log === null || begin === null || system_identifier === null) return null;
    return {
      ...{ database: this.id, system_identifier, lineage: this.#lineage, bases: this.#state.bases },
      ...{ begin: parseLsn(begin.lsn), end: this.#log.position },
      has: (timeline, segment) => this.shipping.has(timeline, segment),
    };
  }

  basePath(id: string): string {
    return join(this.folder, "bases", `${id}.tar.zst`);
  }

  segmentPath(timeline: number, segment: number): string {
    return join(this.walFolder, segmentName(timeline, segment));
  }

  /** Changes what is known. */
  update(change: (state: DatabaseState) => Partial<DatabaseState>): Promise<void> {
    return this.#commit(change);
  }

  async close(): Promise<void> {
    await this.#upload.stop("it is closed");
    await this.#inTurn(() => this.#stopFollowing());
    await this.#log?.close();
  }

  async remove(): Promise<void> {
    await this.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  #promised(term: number): Pick<DatabaseState, "promised_term" | "remembers_since"> {
    return { promised_term: term, remembers_since: this.#state.remembers_since ?? term };
  }

  #startFollowing(writer: WriterAddress): void {
    const stop = new AbortController();
    this.#changed("waiting", null);
    this.#follower = { stop, done: follow(this.#followerOf(writer, stop.signal)) };
  }

  async #stopFollowing(): Promise<void> {
    const follower = this.#follower;
    this.#follower = null;
    follower?.stop.abort();
    await follower?.done;
    this.#changed("off", null);
  }

  #followerOf(writer: WriterAddress, signal: AbortSignal): Follower {
    return {
      keeper: this.#around.name,
      database: this.id,
      writer,
      signal,
      log: () => this.#log,
      systemIdentifier: () => this.#state.system_identifier,
      beginAnew: (system, histories) => this.#beginAnew(writer, signal, system, histories),
      branch: (timeline, from) => TimelineLog.begin(this.walFolder, timeline, from),
      adoptLog: (log) => this.#adoptLog(log),
      adoptTerm: (from) => this.#adoptTerm(writer, from),
      keepHistory: async (timeline, text) => {
        const path = join(this.walFolder, historyName(timeline));
        const kept = await readFile(path, "utf8").catch(() => null);
        if (kept !== null && kept !== text && timeline <= this.#state.timeline)
          throw new Diverged(`the writer's timeline ${timeline} has another history than what is kept`);
        if (kept !== text) await replaceFile(path, text);
      },
      synced: (bytes, seconds) => countSync(this.#around.counters, bytes, seconds),
      progressed: (full) => this.#progressed(full),
      room: () => roomAt(this.walFolder),
      isRestorable: () => this.#isRestorable(),
      note: (line) => this.#around.log(`${this.id}: ${line}`),
      changed: (state, reason) => {
        if (!signal.aborted) this.#changed(state, reason);
      },
    };
  }

  async #adoptLog(log: TimelineLog): Promise<void> {
    await this.#commit(() => ({ timeline: log.timeline }));
    await this.#log?.close();
    this.#log = log;
    await this.#readLineage();
    this.shipping.kick();
  }

  /** The follower is stopped before a term is promised, so its own is the promised one. */
  async #adoptTerm({ term }: WriterAddress, from: Lsn): Promise<void> {
    refuseOlder(term, this.#state.promised_term);
    const { writer_term, timeline, terms } = this.#state;
    const last = terms.at(-1);
    if (writer_term === term && last?.timeline === timeline) return;
    const range = { term, timeline, begin_lsn: formatLsn(from), at: this.#around.now() };
    await this.#commit(() => ({ writer_term: term, terms: [...terms, range] }));
  }

  async #beginAnew(writer: WriterAddress, signal: AbortSignal, system: System, histories: Histories): Promise<void> {
    this.#changed("catching_up", "a base backup is being taken");
    const base = await this.#backUp(writer, signal, true);
    await this.#log?.close();
    const log = await TimelineLog.begin(this.walFolder, base.timeline, parseLsn(base.start_lsn));
    for (const [timeline, text] of histories) await replaceFile(join(this.walFolder, historyName(timeline)), text);
    // Nothing from before leads here any more, and its segments may have the names of others that are to come.
    await this.#commit(() => ({
      system_identifier: system.identifier,
      timeline: base.timeline,
      begin: { timeline: base.timeline, lsn: formatLsn(startOfSegmentAt(parseLsn(base.start_lsn))) },
      bases: [base],
      shipped: { segments: [], bases: [], tail: null },
      unswept: true,
    }));
    this.#log = log;
    await this.#readLineage();
    this.shipping.kick();
  }

  async #takeBase(): Promise<BaseBackup> {
    const { writer } = this.#state;
    const signal = this.#follower?.stop.signal;
    if (!writer || !signal || this.#following.state !== "streaming")
      throw new Unready("there is no writer to take it of");
    const base = await this.#around.backups.run(() => this.#backUp(writer, signal));
    await this.#commit((state) => ({ bases: [...state.bases, base] }));
    this.shipping.kick();
    return base;
  }

  async #backUp(writer: WriterAddress, signal: AbortSignal, isAnew = false): Promise<BaseBackup> {
    const connection = await connect({ writer, signal }, `${this.#around.name}_base`);
    try {
      const about = { database: this.id, writer, systemIdentifier: () => this.#state.system_identifier };
      const system = await verify(connection, isAnew ? beginning(about) : about);
      const id = baseId(writer.term, system.timeline, system.flushedTo);
      const taking = takeBackup(connection, { path: this.basePath(id), label: id });
      const taken = await countBase(this.#around.counters, taking);
      return {
        ...{ id, kind: "hot", term: writer.term, timeline: taken.timeline, at: this.#around.now() },
        ...{ start_lsn: formatLsn(taken.start), end_lsn: formatLsn(taken.end) },
        ...{ bytes: taken.bytes, stored_bytes: taken.storedBytes, sha256: taken.sha256 },
        postgres_version: connection.parameters.get("server_version") ?? "unknown",
      };
    } finally {
      connection.end();
    }
  }

  #progressed(full: readonly number[]): void {
    this.#heardAt = this.#around.now();
    if (full.length > 0) this.shipping.filled(this.#state.timeline, full);
    if (full.length === 0 || this.#backup || this.#following.state !== "streaming") return;
    const position = this.#log?.position ?? 0n;
    if (isBaseDue(this.#state.bases.at(-1) ?? null, position, this.#around.now(), this.#around.retention))
      this.takeBase().catch((error: Error) => this.#around.log(`${this.id}: no base backup: ${error.message}`));
  }

  #isRestorable(): boolean {
    const holdings = this.holdings();
    return holdings !== null && usableBases(holdings).length > 0;
  }

  #changed(state: FollowState, reason: string | null): void {
    const before = this.#following;
    if (before.state === state && before.reason === reason) return;
    this.#following = { state, since: before.state === state ? before.since : this.#around.now(), reason };
  }

  async #openLog(): Promise<void> {
    const { timeline, begin } = this.#state;
    if (timeline === 0 || begin === null) return;
    await this.#readLineage(timeline);
    // Where it branched off, when nothing of it has come yet.
    const from = maxLsn(parseLsn(begin.lsn), this.#lineage.at(-2)?.until ?? 0n);
    this.#log = await TimelineLog.open(this.walFolder, timeline, from);
  }

  async #readLineage(timeline: number = this.#state.timeline): Promise<void> {
    const history = timeline === 1 ? "" : await readFile(join(this.walFolder, historyName(timeline)), "utf8");
    this.#lineage = lineage(timeline, parseHistory(history));
  }

  #commit(change: (state: DatabaseState) => Partial<DatabaseState>): Promise<void> {
    const write = this.#writes.then(async () => {
      const next = { ...this.#state, ...change(this.#state) };
      await writeState(this.folder, next);
      this.#state = next;
    });
    this.#writes = write.catch(() => {});
    return write;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => {});
    return turn;
  }
}

const baseId = (term: number, timeline: number, at: Lsn): string =>
  `${term}-${timeline}-${formatLsn(at).replace("/", "-")}`;
