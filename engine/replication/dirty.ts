import { SourceFailure } from "../source/failure.ts";
import type { Position } from "../source/source.ts";
import type { Store, Table } from "../store/table.ts";
import { sleep } from "./backoff.ts";
import type { Loader } from "./loader.ts";
import type { Reloads } from "./reloads.ts";

export type DirtyOptions = {
  loader: Loader;
  reloads: Reloads;
  createStore: () => Store;
  intervalMs: number;
  stopped: AbortSignal;
  /** They are read, as of a position. */
  read: (position: Position) => void;
  failed: (error: SourceFailure) => void;
  log: (level: "warn", text: string) => void;
};

/** Tables whose rows must be read again beside the stream. */
export class Dirty {
  readonly #options: DirtyOptions;
  readonly #places = new Set<number>();
  #isReloading = false;
  /** Ends the wait before a reload. */
  #hurry: () => void = () => {};

  constructor(options: DirtyOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#places.size;
  }

  has(place: number): boolean {
    return this.#places.has(place);
  }

  hurry(): void {
    this.#hurry();
  }

  /** Everything was read. */
  clear(): void {
    this.#places.clear();
  }

  /** Many changes of one table in a short time are one reload. */
  reloadSoon(places: readonly number[], inMs: number): void {
    for (const place of places) this.#places.add(place);
    if (inMs === 0) this.#hurry();
    if (this.#isReloading) return;
    this.#isReloading = true;
    const hurry = new AbortController();
    this.#hurry = () => hurry.abort();
    void sleep(inMs, hurry.signal).then(() => this.#reload());
  }

  async #reload(): Promise<void> {
    const { createStore, loader, reloads, stopped, intervalMs, read, failed, log } = this.#options;
    if (stopped.aborted) return;
    const places = [...this.#places];
    const fresh = createStore();
    const reload = reloads.begin(new Map(places.map((place) => [place, fresh.tables[place] as Table])));
    this.#places.clear();
    try {
      const position = await loader.read(reload.tables);
      if (reloads.end(reload, position)) read(position);
    } catch (error) {
      reloads.drop(reload);
      if (error instanceof SourceFailure && error.code === "oom") return failed(error);
      log("warn", `tables could not be read again: ${error}`);
      for (const place of places) this.#places.add(place);
      await sleep(1000, stopped);
    } finally {
      this.#isReloading = false;
      if (this.#places.size > 0) this.reloadSoon([], intervalMs);
    }
  }
}
