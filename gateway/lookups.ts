import { setTimeout as sleep } from "node:timers/promises";
import type { Lookup } from "../contract/gateway.ts";
import type { Counters } from "./counters.ts";
import type { DatabaseDirectory } from "./directory.ts";
import { refusal } from "./refusal.ts";

/** So many answers are kept. */
const KEPT_MOST = 10_000;
/** A control plane that does not answer by then is taken to be away, and what is kept is used at once until it answers again. */
const PATIENCE_MS = 1_000;
/** And so many about what does not exist: made-up names fill neither the memory nor the places of the others. */
const UNKNOWN_KEPT_MOST = 1_000;

type Kept = { lookup: Lookup; askedAt: number };

/** What the control plane said of roles and databases, for as long as it may be used. One question at a time per pair. */
export class Lookups {
  readonly #directory: DatabaseDirectory;
  readonly #counters: Counters;
  readonly #kept = new Map<string, Kept>();
  readonly #unknown = new Map<string, Kept>();
  readonly #asked = new Map<string, Promise<Lookup>>();
  readonly #now: () => number;
  #isSilent = false;

  constructor(directory: DatabaseDirectory, counters: Counters, now = () => performance.now()) {
    this.#directory = directory;
    this.#counters = counters;
    this.#now = now;
  }

  async find(role: string, database: string): Promise<Lookup> {
    const key = `${role}\0${database}`;
    const kept = this.#kept.get(key) ?? this.#unknown.get(key);
    if (kept && this.#now() - kept.askedAt < kept.lookup.fresh_ms) return kept.lookup;
    const asked = this.#ask(key, role, database).catch(() => null);
    const isGoodAlone = kept !== undefined && this.#now() - kept.askedAt < kept.lookup.stale_ms;
    if (!isGoodAlone) {
      const lookup = await asked;
      if (lookup === null) throw refusal("no_control_plane");
      return lookup;
    }
    if (this.#isSilent) return kept.lookup;
    const late = new AbortController();
    const patience = sleep(PATIENCE_MS, null, { signal: late.signal, ref: false }).catch(() => null);
    const lookup = await Promise.race([asked, patience]);
    late.abort();
    if (lookup === null) this.#isSilent = true;
    return lookup ?? kept.lookup;
  }

  /** Asks although an answer is kept: it has proved wrong. */
  async refresh(role: string, database: string): Promise<Lookup> {
    try {
      return await this.#ask(`${role}\0${database}`, role, database);
    } catch {
      throw refusal("no_control_plane");
    }
  }

  forget(databaseId: string): void {
    for (const [key, { lookup }] of this.#kept) if (lookup.database?.id === databaseId) this.#kept.delete(key);
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.delete(key);
    this.#unknown.delete(key);
    const [answers, most] =
      kept.lookup.verifiers.length > 0 ? [this.#kept, KEPT_MOST] : [this.#unknown, UNKNOWN_KEPT_MOST];
    answers.set(key, kept);
    if (answers.size > most) answers.delete(answers.keys().next().value as string);
  }

  #ask(key: string, role: string, database: string): Promise<Lookup> {
    const asked = this.#asked.get(key);
    if (asked) return asked;
    const askedAt = this.#now();
    this.#counters.lookups_total++;
    const answer = this.#directory.lookup({ role, database }).then(
      (lookup) => {
        this.#asked.delete(key);
        this.#isSilent = false;
        this.#keep(key, { lookup, askedAt });
        return lookup;
      },
      (error: unknown) => {
        this.#asked.delete(key);
        this.#counters.lookups_failed_total++;
        this.#isSilent = true;
        throw error;
      },
    );
    this.#asked.set(key, answer);
    return answer;
  }
}
