import type { EngineHealth, EngineState, ReplicationState, SchemaDrift } from "../../contract/engine.ts";
import { SourceFailure, sourceFailure } from "../source/failure.ts";
import type { Position, Sink, Transaction } from "../source/source.ts";
import type { Store, Table } from "../store/table.ts";
import { Arrivals } from "./arrivals.ts";
import { Backoff, sleep } from "./backoff.ts";
import { Dirty } from "./dirty.ts";
import { DriftWatch } from "./drift.ts";
import { insist } from "./insist.ts";
import { Loader } from "./loader.ts";
import { applyChange, emptyTable, Reloads, withTables } from "./reloads.ts";
import type { ReplicaOptions } from "./replica-options.ts";

const LONGEST_WAIT_MS = 10_000;
const DRIFT_EVERY_MS = 60_000;
/** A source that moves has often gone for good reason: it is said within that time. */
const SAID_WITHIN_MS = 1_500;
/** Where the log did not have what happened to a table that is followed otherwise. */
const UNEXPECTED_RELOAD_MS = 200;

const ASLEEP = { code: "source_asleep", message: "the source sleeps; it is followed again when it wakes" };

/** The copy of a source: its rows as of one position, and what keeps them new. Whoever reads `store` at one moment reads one state of the source. */
export class Replica {
  store: Store;
  state: EngineState = "loading";
  replication: ReplicationState = "starting";
  reason: EngineHealth["replication"]["reason"];
  failure: EngineHealth["failure"] = null;
  position: Position | null = null;
  /** Rises with everything that changes what a query may see. */
  snapshot = 0;
  transactions = 0;
  resyncs = 0;
  readonly #options: ReplicaOptions;
  readonly #reloads: Reloads;
  readonly #loader: Loader;
  readonly #dirty: Dirty;
  readonly #arrivals = new Arrivals();
  readonly #stopped = new AbortController();
  readonly #backoff = new Backoff(100, LONGEST_WAIT_MS);
  /** Ends the stream, or the wait for the next one. */
  #current = new AbortController();
  #isPaused = false;
  #isAsleep = false;
  #syncedAt: number | null = null;
  #held: Promise<void> | null = null;
  readonly #drift: DriftWatch;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.store = options.createStore();
    this.#reloads = new Reloads(options.source, options.shape, options.createStore);
    this.#loader = new Loader(options);
    this.#drift = new DriftWatch(options);
    this.#dirty = new Dirty({
      ...{ loader: this.#loader, reloads: this.#reloads, createStore: options.createStore, log: options.log },
      ...{ intervalMs: options.intervalMs, stopped: this.#stopped.signal, failed: (error) => this.#fail(error) },
      // Where nothing else happens, no event would come to put them in place.
      read: () => {
        if (this.position !== null) this.#install(this.#reloads.due(this.position, false));
        this.#arrivals.tell();
      },
    });
    this.reason = options.source.reason;
  }

  get drift(): SchemaDrift[] {
    return this.#drift.found;
  }

  get load(): EngineHealth["load"] {
    return this.#loader.progress;
  }

  /** When all that the source had was here, ms ago. */
  get ageMs(): number | null {
    return this.#syncedAt === null ? null : Math.max(0, Date.now() - this.#syncedAt);
  }

  /** Until it is stopped. Fails when it cannot go on at all. */
  async run(): Promise<void> {
    const timers = [this.#every(DRIFT_EVERY_MS, () => this.#lookForDrift())];
    const { checkpoint, safetyNetMs, intervalMs, source } = this.#options;
    try {
      await this.#start();
      if (safetyNetMs !== null && source.mode !== "poll")
        timers.push(this.#every(safetyNetMs, async () => this.reload()));
      const { unseen } = source;
      if (unseen.length > 0) timers.push(this.#every(intervalMs, async () => this.#dirty.reloadSoon(unseen, 0)));
      if (checkpoint !== null) timers.push(this.#every(checkpoint.everyMs, () => this.checkpoint()));
      timers.push(this.#every(1000, async () => this.#options.memory.check("what was written to the source")));
      while (!this.#stopped.signal.aborted) {
        this.#current = new AbortController();
        if (this.#isPaused || this.#isAsleep) await sleep(2 ** 30, this.#current.signal);
        else if (source.mode === "poll") await this.#poll();
        else await this.#follow();
      }
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      for (const timer of timers) clearInterval(timer);
      await source.close();
    }
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#current.abort();
  }

  /** What is here stays as it is until `resume`. */
  pause(): void {
    this.#isPaused = true;
    this.#become("paused");
    this.#current.abort();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#isAsleep) this.#become("asleep", ASLEEP);
    else this.#become("catching_up");
    this.#current.abort();
  }

  /** A source that moves has gone to sleep, or is awake, perhaps elsewhere. */
  sourceIs(standing: "asleep" | "awake"): void {
    const wasAsleep = this.#isAsleep;
    this.#isAsleep = standing === "asleep";
    this.#backoff.reset();
    if (this.#isAsleep) {
      if (this.state === "serving") this.#become("asleep", ASLEEP);
    } else {
      if (wasAsleep) this.#become("catching_up");
      if (this.#dirty.size > 0) this.#dirty.hurry();
      if (!wasAsleep && this.replication === "live") return;
    }
    // While it loads, nothing is to be cut short but the wait for the next attempt.
    this.#current.abort();
  }

  /** Reads everything again. The old rows are answered until then. */
  reload(): void {
    if (this.#options.source.mode === "poll") this.#current.abort();
    else this.#dirty.reloadSoon([...this.#options.shape.tables.keys()], 0);
  }

  /** Whether everything up to a position of the source is here, now or within so many ms. */
  reaches(position: Position, withinMs: number): Promise<boolean> {
    return this.#arrivals.until(withinMs, this.#stopped.signal, () => {
      if (this.#isBehind) this.#dirty.hurry();
      const isHere = this.position !== null && this.#options.source.compare(this.position, position) >= 0;
      return isHere && !this.#isBehind;
    });
  }

  /** Keeps the rows on disk, as of one position. */
  async checkpoint(): Promise<void> {
    const { checkpoint, source } = this.#options;
    const { position } = this;
    if (checkpoint === null || position === null || this.#held !== null || source.mode === "poll") return;
    if (this.#isBehind || this.state !== "serving") return;
    // Until it is written nothing is applied, and queries go on.
    const writing = checkpoint.at.write(this.store, position.text, this.snapshot).then(
      () => source.forget(position),
      (error: unknown) => this.#options.log("warn", `no checkpoint: ${error}`),
    );
    this.#held = writing.finally(() => {
      this.#held = null;
    });
    await this.#held;
  }

  async #start(): Promise<void> {
    const { checkpoint, source, log, createStore } = this.#options;
    const kept = await checkpoint?.at.read(this.store);
    const position = kept ? source.parse(kept.position) : null;
    if (kept && position !== null && source.mode !== "poll") {
      log("info", `goes on from the checkpoint at ${kept.position}`);
      this.position = position;
      this.snapshot = kept.snapshot;
      // It is served only when it is as new as the source was at its start.
      await this.#catchUpFirst();
      return;
    }
    this.store = createStore();
    await this.#loadAll();
    this.state = "serving";
  }

  async #catchUpFirst(): Promise<void> {
    const { source, log } = this.#options;
    await this.#insist(() => this.#drift.begin({ mayDiffer: true }));
    const wanted = await this.#insist(() => source.now());
    void this.reaches(wanted, 2 ** 30).then(() => {
      if (this.state !== "loading") return;
      log("info", "has caught up from its checkpoint");
      this.state = "serving";
    });
  }

  /** Everything anew, at one position. */
  async #loadAll(): Promise<void> {
    const { source, createStore, log } = this.#options;
    const started = performance.now();
    await this.#insist(() => this.#drift.begin());
    this.#loader.expect(await source.estimate().catch(() => null));
    const store = await this.#insist(async () => {
      const fresh = createStore();
      const at = Date.now();
      // Before it first answers anything. What is read anew later takes the place of what was verified.
      const position = await this.#loader.loadAll(fresh, this.state === "loading" ? createStore() : null);
      return { fresh, position, at };
    });
    this.#reloads.clear();
    this.#dirty.clear();
    this.store = store.fresh;
    this.#moveTo(store.position);
    this.#syncedAt = store.at;
    this.snapshot++;
    log(
      "info",
      `loaded ${this.#loader.progress.rows} rows in ${Math.round(performance.now() - started)} ms, at ${store.position.text}`,
    );
  }

  async #follow(): Promise<void> {
    const { source, log } = this.#options;
    const signal = this.#current.signal;
    if (this.position === null) throw new Error("nothing was loaded");
    if (this.replication !== "drifted")
      this.#become(this.replication === "reconnecting" ? "reconnecting" : "catching_up", this.reason);
    try {
      await source.follow(this.position, this.#sink(signal), signal);
      if (!signal.aborted) throw new SourceFailure("stream_disconnected", "the stream ended");
    } catch (thrown) {
      const error = thrown instanceof SourceFailure ? thrown : sourceFailure(thrown, "stream_disconnected");
      if (error.code === "oom") throw error;
      log("warn", `${error.code}: ${error.message}`);
      const reason = { code: error.code, message: error.message };
      if (error.code === "schema_drift") {
        this.#become("drifted", reason);
        await sleep(DRIFT_EVERY_MS, signal);
        if (!signal.aborted) await this.#resync(reason).catch((again: unknown) => this.#waitAfter(again, signal));
      } else if (error.code === "log_purged" || error.code === "apply_failed")
        await this.#resync(reason).catch((again: unknown) => this.#waitAfter(again, signal));
      else {
        if (this.#options.moves && this.replication !== "reconnecting") await sleep(SAID_WITHIN_MS, signal);
        if (signal.aborted) return;
        this.#become("reconnecting", reason);
        await sleep(this.#backoff.next(), signal);
      }
    }
  }

  /** What was here is answered still, whatever the source says now; only without memory there is no going on. */
  async #waitAfter(error: unknown, signal: AbortSignal): Promise<void> {
    const { code, message } = sourceFailure(error, "stream_disconnected");
    if (code === "oom" || this.state !== "serving") throw error;
    if (this.#options.moves && this.replication !== "reconnecting") await sleep(SAID_WITHIN_MS, signal);
    if (signal.aborted) return;
    this.#options.log("warn", `${code}: ${message}`);
    this.#become(code === "schema_drift" ? "drifted" : "reconnecting", { code, message });
    await sleep(this.#backoff.next(), signal);
  }

  /** The stream cannot go on where it ended. */
  async #resync(reason: NonNullable<EngineHealth["replication"]["reason"]>): Promise<void> {
    this.#become("resyncing", reason);
    this.resyncs++;
    await this.#loadAll();
    if (this.state === "loading") this.state = "serving";
    this.#become("catching_up");
  }

  async #poll(): Promise<void> {
    const { intervalMs } = this.#options;
    this.#become("live", this.#options.source.reason);
    await sleep(intervalMs, this.#current.signal);
    if (this.#isPaused || this.#stopped.signal.aborted) return;
    await this.#loadAll().catch((error: unknown) => this.#waitAfter(error, this.#current.signal));
  }

  #sink(signal: AbortSignal): Sink {
    return {
      apply: (transaction) => {
        if (signal.aborted) return undefined;
        if (this.#held !== null) return this.#held.then(() => this.#apply(transaction));
        this.#apply(transaction);
        return undefined;
      },
      caughtUp: (position, asOf) => {
        if (signal.aborted || this.#held !== null) return;
        // An answer to what a stream of before asked may come late.
        if (this.position !== null && this.#options.source.compare(position, this.position) < 0) return;
        this.#install(this.#reloads.due(position, false));
        this.#moveTo(position);
        if (asOf === null) return;
        this.#syncedAt = Math.max(this.#syncedAt ?? 0, asOf);
        this.#backoff.reset();
        if (this.replication !== "live") this.#become("live");
      },
      redefined: () => this.#lookForDrift(),
    };
  }

  /** At once, so that no query sees half of it. */
  #apply(transaction: Transaction): void {
    const { shape, createStore } = this.#options;
    const { position, changes, reload, truncated } = transaction;
    this.#install(this.#reloads.due(position, true));
    this.#reloads.note(transaction);
    if (truncated.length > 0) this.#install(new Map(truncated.map((place) => [place, emptyTable(createStore, place)])));
    const { tables } = this.store;
    try {
      for (const change of changes) applyChange(shape, tables[change.table] as Table, change);
    } catch (error) {
      // Half of it is here now: only the whole source makes it right again.
      throw new SourceFailure("apply_failed", `a change could not be applied: ${(error as Error).message}`, error);
    }
    if (changes.length > 0) this.snapshot++;
    this.transactions++;
    this.#install(this.#reloads.due(position, false));
    this.#moveTo(position);
    if (reload.size > 0) {
      const places = [...reload.keys()];
      const isByNature = places.every((place) => shape.tables[place]?.wholeTable !== null);
      for (const [place, why] of reload)
        if (!this.#dirty.has(place)) this.#options.log("debug", `${shape.tables[place]?.name} is read again: ${why}`);
      this.#dirty.reloadSoon(
        places,
        isByNature ? this.#options.intervalMs : Math.min(this.#options.intervalMs, UNEXPECTED_RELOAD_MS),
      );
    }
  }

  #install(tables: ReadonlyMap<number, Table>): void {
    if (tables.size === 0) return;
    this.store = withTables(this.store, tables);
    this.snapshot++;
  }

  #moveTo(position: Position): void {
    this.position = position;
    const { checkpoint, source } = this.#options;
    if (checkpoint === null) source.forget(position);
    this.#arrivals.tell();
  }

  /** The rows of some table are older than the position says. */
  get #isBehind(): boolean {
    return this.#dirty.size > 0 || this.#reloads.size > 0;
  }

  async #lookForDrift(): Promise<void> {
    if (this.state === "serving" && !this.#isAsleep) await this.#drift.look();
  }

  #insist<T>(attempt: () => Promise<T>): Promise<T> {
    return insist(attempt, this.#backoff, this.#stopped.signal, ({ code, message }) => {
      this.#options.log("warn", `${code}: ${message}; tries again`);
      this.reason = { code, message };
    });
  }

  #become(state: ReplicationState, reason: EngineHealth["replication"]["reason"] = null): void {
    if (this.#isPaused && state !== "paused") return;
    if (this.#isAsleep && state !== "paused" && state !== "asleep") return;
    if (this.replication !== state)
      this.#options.log("info", `replication: ${state}${reason ? ` (${reason.code})` : ""}`);
    this.replication = state;
    this.reason = reason;
  }

  #fail(error: unknown): void {
    const { code, message } = sourceFailure(error, "initial_load_failed");
    this.failure = { code, message };
    this.state = "failed";
    this.#stopped.abort();
    this.#current.abort();
  }

  #every(milliseconds: number, work: () => Promise<void>): NodeJS.Timeout {
    const timer = setInterval(() => {
      work().catch((error: unknown) => {
        if (error instanceof SourceFailure && error.code === "oom") this.#fail(error);
        else if (error instanceof SourceFailure && error.code === "schema_drift")
          this.#become("drifted", { code: error.code, message: error.message });
        else this.#options.log("warn", String(error));
      });
    }, milliseconds);
    timer.unref();
    return timer;
  }
}
