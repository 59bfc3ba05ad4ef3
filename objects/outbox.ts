import { commit } from "./alarm.ts";

/**
 * The outbox: what an object still has to tell others. A letter is only a subject ("host", "index", "place"): what to say is read from the
 * state when it is delivered, so that a late delivery says the present truth. Letters are written in the transaction of the change that
 * needs them, sent at once after it, and by the alarm when that was cut short.
 */

/** How long after the commit the alarm looks after a letter that was to be sent at once, ms. */
const SAFETY_NET_MS = 2_000;
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 300_000;
/** A delivery that takes longer counts as failed, ms: whether it landed is not known, and it is said again. */
const DELIVERY_TIMEOUT_MS = 30_000;
/** How long the lists may lag behind while there is more to say: what is said next would only change them again. */
const LIST_LAG_MS = 50;
/** The platform gives six connections at a time; one is left for others. */
const AT_ONCE = 5;
/** So many are looked up at a time: with thousands, a look is dear. */
const READ_AT_ONCE = 50;

/** Asks for a delivery about `key`. Call it inside `commit`. A letter that waits, or is under way, is asked for once more. */
export function post(sql: SqlStorage, key: string, now: number): void {
  // Above the version of one that is under way, also within the same millisecond: else its delivery would settle this one too.
  sql.exec(
    "INSERT INTO outbox (key, version, due_at) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET version = max(outbox.version + 1, ?2), due_at = ?3, attempts = 0",
    key,
    now,
    now + SAFETY_NET_MS,
  );
}

/** When to try again after so many failed attempts, ms. `jitter` in 0..1 spreads the herd. */
export const retryDelay = (attempts: number, jitter: number): number =>
  Math.round(Math.min(FIRST_RETRY_MS * 2 ** attempts, LAST_RETRY_MS) * (0.5 + jitter / 2));

type Letter = { key: string; version: number; attempts: number };

/**
 * Sends letters, in the order in which they were posted: at most AT_ONCE are under way, and of one subject one. A place that becomes free is
 * the next letter's, so that a delivery that hangs holds up no other.
 */
export class Outbox {
  readonly #storage: DurableObjectStorage;
  readonly #deliver: (key: string) => Promise<void>;
  readonly #underWay = new Map<string, Promise<void>>();
  /** Letters that are due and wait for a place; whenever one is free, there are none. */
  #waiting: Letter[] = [];
  #running: Promise<void> | null = null;
  /** Has the drain that runs look for letters anew. */
  #look = (): void => {};
  /** Since when the "index" letter has been waiting for the others. */
  #listsWaitSince: number | null = null;

  /** @param deliver says the present truth about a subject; throws when it could not be said, and it is then tried again later, for ever */
  constructor(storage: DurableObjectStorage, deliver: (key: string) => Promise<void>) {
    this.#storage = storage;
    this.#deliver = deliver;
  }

  /** Resolves when no letter is under way, and none is left that can be sent now. A delivery that fails does not reject it. */
  drain(): Promise<void> {
    this.#look();
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    try {
      // No delivery begins within the call that asks for it: that may be in the middle of a change, or itself part of a delivery.
      await null;
      for (;;) {
        const asked = Promise.withResolvers<void>();
        this.#look = asked.resolve;
        for (const letter of this.#next()) this.#underWay.set(letter.key, this.#carry(letter));
        // In one turn with the end of the run: whoever posts after this look begins another.
        if (this.#underWay.size === 0) return;
        await this.#wait(asked.promise);
      }
    } finally {
      this.#running = null;
    }
  }

  /** Until there may be more to send: somebody asks, a place becomes free, or the time of a letter comes. */
  async #wait(asked: Promise<void>): Promise<void> {
    const at = this.#waiting.length > 0 ? null : this.#nextTime();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const time = new Promise<void>((resolve) => {
      if (at !== null) timer = setTimeout(resolve, Math.max(1, at - Date.now()));
    });
    try {
      await Promise.race([asked, time, ...this.#underWay.values()]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** When the time of a letter that still waits comes, ms since 1970: until then the alarm may be busy with waiting for one under way. */
  #nextTime(): number | null {
    return this.#storage.sql
      .exec<{ at: number | null }>(
        "SELECT min(at) AS at FROM (SELECT min(due_at) AS at FROM outbox WHERE attempts > 0 AND due_at > ?1 UNION ALL SELECT ?2 WHERE ?2 > ?1)",
        Date.now(),
        this.#listsWaitSince === null ? null : this.#listsWaitSince + LIST_LAG_MS,
      )
      .one().at;
  }

  /** The letters that begin now. */
  #next(): Letter[] {
    const free = AT_ONCE - this.#underWay.size;
    if (this.#waiting.length < free) this.#waiting = this.#due();
    return this.#waiting.splice(0, free);
  }

  /** What is due and not under way, in the order in which it is to begin; without the lists, while they wait for the others. */
  #due(): Letter[] {
    const due = this.#storage.sql
      .exec<Letter>(
        "SELECT key, version, attempts FROM outbox WHERE attempts = 0 OR due_at <= ? ORDER BY key = 'index' DESC, version LIMIT ?",
        Date.now(),
        READ_AT_ONCE,
      )
      .toArray()
      .filter(({ key }) => !this.#underWay.has(key));
    const others = due.filter(({ key }) => key !== "index");
    const isMixed = others.length < due.length && others.length + this.#underWay.size > 0;
    this.#listsWaitSince = isMixed ? (this.#listsWaitSince ?? Date.now()) : null;
    const mayWait = this.#listsWaitSince !== null && Date.now() - this.#listsWaitSince < LIST_LAG_MS;
    return mayWait ? others : due;
  }

  async #carry(letter: Letter): Promise<void> {
    const error = await this.#send(letter);
    try {
      // In the same turn as what the delivery itself wrote last: the platform makes one write of both.
      commit(this.#storage, () => this.#settle(letter, error));
    } finally {
      this.#underWay.delete(letter.key);
    }
  }

  async #send(letter: Letter): Promise<string | null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error("not delivered in time")), DELIVERY_TIMEOUT_MS);
    });
    try {
      await Promise.race([this.#deliver(letter.key), timeout]);
      return null;
    } catch (error) {
      const text = String(error).slice(0, 500);
      if (letter.attempts === 0) console.warn(`delivery ${letter.key} failed, will be tried again: ${text}`);
      return text;
    } finally {
      // A pending timer would keep the object awake.
      clearTimeout(timer);
    }
  }

  /** A letter that was asked for again meanwhile has another version, and stays. */
  #settle(letter: Letter, error: string | null): void {
    const sql = this.#storage.sql;
    if (error === null) sql.exec("DELETE FROM outbox WHERE key = ? AND version = ?", letter.key, letter.version);
    else
      sql.exec(
        "UPDATE outbox SET attempts = attempts + 1, due_at = ?, last_error = ? WHERE key = ? AND version = ?",
        Date.now() + retryDelay(letter.attempts, Math.random()),
        error,
        letter.key,
        letter.version,
      );
  }
}
