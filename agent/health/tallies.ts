import type { HealthResult } from "../../contract/health.ts";
import type { KeptTally, Ledger, Tally } from "../ledger.ts";

/** Writes that come closer than this are one write, ms. */
const BUNDLE_MS = 50;
const AGAIN_MS = 2_000;

type Of = { generation: number; tallies: (Tally | null)[] };

/**
 * What every check has come to, in memory and on disk. A result is told only when it is on disk, so that no restart takes back what the control
 * plane has heard.
 */
export class Tallies {
  readonly #ledger: Ledger;
  readonly #told: (results: HealthResult[]) => void;
  readonly #log: (line: string) => void;
  readonly #of = new Map<string, Of>();
  readonly #unkept = new Map<string, KeptTally>();
  readonly #news = new Map<string, HealthResult>();
  #dropped = new Set<string>();
  #timer: NodeJS.Timeout | null = null;
  #keptAt = Number.NEGATIVE_INFINITY;

  /** @param told called with results that say something new, once they are on disk */
  constructor(ledger: Ledger, told: (results: HealthResult[]) => void, log: (line: string) => void) {
    this.#ledger = ledger;
    this.#told = told;
    this.#log = log;
    for (const { id, generation, check, tally } of ledger.tallies()) {
      if (generation >= (this.#of.get(id)?.generation ?? 0)) this.#at(id, generation).tallies[check] = tally;
    }
  }

  ids(): string[] {
    return [...this.#of.keys()];
  }

  /** The tallies of this generation, by check; what was kept of an older one is of no use any more. */
  begin(id: string, generation: number): (Tally | null)[] {
    return this.#at(id, generation).tallies;
  }

  get(id: string, generation: number, check: number): Tally | null {
    const of = this.#of.get(id);
    return of?.generation === generation ? (of.tallies[check] ?? null) : null;
  }

  put(kept: KeptTally, isKept: boolean, isNews: boolean): void {
    this.#at(kept.id, kept.generation).tallies[kept.check] = kept.tally;
    const key = `${kept.id} ${kept.check}`;
    if (isNews) this.#news.set(key, kept.tally.told);
    if (!isKept) return;
    this.#unkept.set(key, kept);
    this.#schedule();
  }

  drop(id: string): void {
    if (!this.#of.delete(id)) return;
    this.#forget(id);
  }

  /** The newest result of each check that says something new, as it is on disk. */
  all(): HealthResult[] {
    if (this.#timer) this.#keep();
    return [...this.#of.values()].flatMap(({ tallies }) => tallies.flatMap((tally) => (tally ? [tally.told] : [])));
  }

  close(): void {
    if (this.#timer) this.#keep();
    if (this.#timer) clearTimeout(this.#timer);
  }

  #at(id: string, generation: number): Of {
    let of = this.#of.get(id);
    if (of && of.generation !== generation) {
      this.#forget(id);
      of = undefined;
    }
    if (!of) {
      of = { generation, tallies: [] };
      this.#of.set(id, of);
    }
    return of;
  }

  #forget(id: string): void {
    for (const waiting of [this.#unkept, this.#news])
      for (const key of waiting.keys()) if (key.startsWith(`${id} `)) waiting.delete(key);
    this.#dropped.add(id);
    this.#schedule();
  }

  #schedule(): void {
    this.#timer ??= setTimeout(
      () => this.#keep(),
      Math.max(0, Math.min(BUNDLE_MS, this.#keptAt + BUNDLE_MS - performance.now())),
    );
  }

  #keep(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#keptAt = performance.now();
    try {
      this.#ledger.keepTallies([...this.#unkept.values()], [...this.#dropped]);
    } catch (error) {
      // A full disk must not end the agent. Nothing of it is told before it is kept.
      this.#log(`what health checks came to cannot be kept: ${(error as Error).message}`);
      this.#timer = setTimeout(() => this.#keep(), AGAIN_MS);
      return;
    }
    this.#unkept.clear();
    this.#dropped = new Set();
    const news = [...this.#news.values()];
    this.#news.clear();
    if (news.length > 0) this.#told(news);
  }
}
