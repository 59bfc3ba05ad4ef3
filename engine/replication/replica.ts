import type { EngineHealth, EngineState, SchemaDrift } from "../../contract/engine.ts";
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
import { type Reason, Standing } from "./standing.ts";

const LONGEST_WAIT_MS = 10_000;
const DRIFT_EVERY_MS = 60_000;
/** One that has drifted is looked at again, ms: whoever undoes it waits for that. */
const DRIFTED_EVERY_MS = 5_000;
/** A source that moves has often gone for good reason: it is said within that time. */
const SAID_WITHIN_MS = 1_500;
/** Where the log did not have what happened to a table that is followed otherwise. */
const UNEXPECTED_RELOAD_MS = 200;

/** The copy of a source: its rows as of one position, and what keeps them new. Whoever reads `store` at one moment reads one state of the source. */
export class Replica {
  store: Store;
  state: EngineState = "loading";
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
  readonly standing: Standing;
  #syncedAt: number | null = null;
  #held: Promise<void> | null = null;
  readonly #drift: DriftWatch;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.store = options.createStore();
    this.#reloads = new Reloads(options.source, options.shape, options.createStore);
    this.#loader = new Loader(options);
    this.#drift = new DriftWatch(options);
    this.standing = new Standing(options);
    this.#dirty = new Dirty({
      ...{ loader: this.#loader, reloads: this.#reloads, createStore: options.createStore, log: options.log },
      ...{ intervalMs: options.intervalMs, stopped: this.#stopped.signal, failed: (error) => this.#fail(error) },
      // Where nothing else happens, no event would come to put them in place.
      read: () => {
        if (this.position !== null) this.#install(this.#reloads.due(this.position, false));
        this.#arrivals.tell();
      },
    });
  }

  get drift(): SchemaDrift[] {
    return this.#drift.found;
  }

  get load(): EngineHealth["load"] {
    return this.#loader.progress;
  }

  /** How long before that moment all that the source had was here, ms; null: never yet. */
  ageAt(moment: number): number | null {
    return this.#syncedAt === null ? null : Math.max(0, moment - this.#syncedAt);
  }

  /** Until it is stopped. Fails when it cannot go on at all. */
  async run(): Promise<void> {
    const timers = [this.#every(DRIFT_EVERY_MS, () => this.#lookForDrift())];
    const { checkpoint, safetyNetMs, intervalMs, source, shape } = this.#options;
    try {
      await this.#start();
      const again = (places: readonly number[]) => async () => {
        if (!this.standing.isStill) this.#dirty.reloadSoon(places, 0);
      };
      if (safetyNetMs !== null && source.mode !== "poll")
        timers.push(this.#every(safetyNetMs, again([...shape.tables.keys()])));
      if (source.unseen.length > 0) timers.push(this.#every(intervalMs, again(source.unseen)));
      if (checkpoint !== null) timers.push(this.#every(checkpoint.everyMs, () => this.checkpoint()));
      timers.push(this.#every(1000, async () => this.#options.memory.check("what was written to the source")));
      while (!this.#stopped.signal.aborted) {
        const signal = this.standing.begin();
        if (this.standing.isPaused || this.standing.isAsleep) await sleep(2 ** 30, signal);
        else if (this.standing.drifted !== null) await this.#awaitFit(signal);
        else if (source.mode === "poll") await this.#poll(signal);
        else await this.#follow(signal);
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
    this.standing.interrupt();
  }

  /** A source that moves has gone to sleep, or is awake, perhaps elsewhere. */
  sourceIs(now: "asleep" | "awake"): void {
    const standing = this.standing;
    const wasAsleep = standing.isAsleep;
    standing.isAsleep = now === "asleep";
    this.#backoff.reset();
    if (standing.isAsleep) {
      if (this.state === "serving") standing.sleep();
    } else {
      if (wasAsleep) standing.goOn();
      if (this.#dirty.size > 0) this.#dirty.hurry();
      if (!wasAsleep && standing.state === "live") return;
    }
    // While it loads, nothing is to be cut short but the wait for the next attempt.
    standing.interrupt();
  }

  /** Reads everything again. The old rows are answered until then. */
  reload(): void {
    if (this.#options.source.mode === "poll") this.standing.interrupt();
    else this.#dirty.reloadSoon([...this.#options.shape.tables.keys()], 0);
  }

  /** All that the source had at a moment is here. */
  isAsOf(moment: number): void {
    this.#syncedAt = Math.max(this.#syncedAt ?? 0, moment);
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
      // One that is polled is read so often that it would be all there is to read.
      source.mode === "poll" && this.state === "serving" ? "debug" : "info",
      `loaded ${this.#loader.progress.rows} rows in ${Math.round(performance.now() - started)} ms, at ${store.position.text}`,
    );
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { source, log } = this.#options;
    const standing = this.standing;
    if (this.position === null) throw new Error("nothing was loaded");
    standing.become(standing.state === "reconnecting" ? "reconnecting" : "catching_up", standing.reason);
    try {
      await source.follow(this.position, this.#sink(signal), signal);
      if (!signal.aborted) throw new SourceFailure("stream_disconnected", "the stream ended");
    } catch (thrown) {
      const error = thrown instanceof SourceFailure ? thrown : sourceFailure(thrown, "stream_disconnected");
      if (error.code === "oom") throw error;
      log("warn", `${error.code}: ${error.message}`);
      const reason = { code: error.code, message: error.message };
      if (error.code === "schema_drift") {
        if (this.state !== "serving") throw error;
        standing.drift(reason);
      } else if (error.code === "log_purged" || error.code === "apply_failed")
        await this.#resync(reason).catch((again: unknown) => this.#waitAfter(again, signal));
      else {
        if (this.#options.moves && this.standing.state !== "reconnecting") await sleep(SAID_WITHIN_MS, signal);
        if (signal.aborted) return;
        standing.become("reconnecting", reason);
        await sleep(this.#backoff.next(), signal);
      }
    }
  }

  /** What was here is answered until the source is again what was built from. Then all is read anew: nothing was followed meanwhile. */
  async #awaitFit(signal: AbortSignal): Promise<void> {
    const standing = this.standing;
    const reason = standing.drifted;
    const left = await this.#options.source.leaveOff().catch(() => null);
    if (left !== null && reason !== null) standing.driftedAndLeft(reason, left);
    const fits = await this.#drift.fits();
    if (!fits) await sleep(DRIFTED_EVERY_MS, signal);
    if (!fits || signal.aborted || reason === null) return;
    standing.drifted = null;
    await this.#resync(reason).catch((again: unknown) => this.#waitAfter(again, signal));
  }

  /** What was here is answered still, whatever the source says now; only without memory there is no going on. */
  async #waitAfter(error: unknown, signal: AbortSignal): Promise<void> {
    const { code, message } = sourceFailure(error, "stream_disconnected");
    if (code === "oom" || this.state !== "serving") throw error;
    if (code === "schema_drift") return this.standing.drift({ code, message });
    if (this.#options.moves && this.standing.state !== "reconnecting") await sleep(SAID_WITHIN_MS, signal);
    if (signal.aborted) return;
    this.#options.log("warn", `${code}: ${message}`);
    this.standing.become("reconnecting", { code, message });
    await sleep(this.#backoff.next(), signal);
  }

  /** The stream cannot go on where it ended. */
  async #resync(reason: Reason): Promise<void> {
    this.standing.become("resyncing", reason);
    this.resyncs++;
    await this.#loadAll();
    if (this.state === "loading") this.state = "serving";
    this.standing.become("catching_up");
  }

  async #poll(signal: AbortSignal): Promise<void> {
    const { intervalMs, source } = this.#options;
    const standing = this.standing;
    // A source that could not be read stays so until it is.
    if (standing.state !== "reconnecting") standing.become("live", source.reason);
    await sleep(intervalMs, signal);
    if (standing.isStill || this.#stopped.signal.aborted) return;
    try {
      await this.#loadAll();
      this.#backoff.reset();
      standing.become("live", source.reason);
    } catch (error) {
      await this.#waitAfter(error, signal);
    }
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
        this.isAsOf(asOf);
        this.#backoff.reset();
        if (this.standing.state !== "live") this.standing.become("live");
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
    const { isAsleep, drifted } = this.standing;
    if (this.state === "serving" && !isAsleep && drifted === null) await this.#drift.look();
  }

  #insist<T>(attempt: () => Promise<T>): Promise<T> {
    return insist(attempt, this.#backoff, this.#stopped.signal, ({ code, message }) => {
      this.#options.log("warn", `${code}: ${message}; tries again`);
      this.standing.reason = { code, message };
    });
  }

  #fail(error: unknown): void {
    const { code, message } = sourceFailure(error, "initial_load_failed");
    this.failure = { code, message };
    this.state = "failed";
    this.#stopped.abort();
    this.standing.interrupt();
  }

  #every(milliseconds: number, work: () => Promise<void>): NodeJS.Timeout {
    const timer = setInterval(() => {
      work().catch((error: unknown) => {
        if (error instanceof SourceFailure && error.code === "oom") this.#fail(error);
        else if (error instanceof SourceFailure && error.code === "schema_drift")
          this.standing.drift({ code: error.code, message: error.message });
        else this.#options.log("warn", String(error));
      });
    }, milliseconds);
    timer.unref();
    return timer;
  }
}
