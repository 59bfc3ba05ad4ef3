import { DurableObject } from "cloudflare:workers";
import type { Reply } from "../contract/problem.ts";
import { commit, isPostponed, nextTimer, rearm, takeDue } from "./alarm.ts";
import { after, cursor } from "./journal.ts";
import { type Migration, migrate } from "./migrate.ts";
import { Outbox } from "./outbox.ts";
import { type Resealed, resealed } from "./reseal.ts";
import { Watchers } from "./watch.ts";

/** How long the alarm sleeps at a time while it waits for deliveries, ms: a timer may be due later than a sleep can last. */
const LONGEST_WAIT_MS = 3_600_000;

export type Timer = { name: string; dueAt: number };

/**
 * What every object is: tables that are there once something was written, changes as single transactions, letters that follow them, and an
 * alarm that looks after both. A kind says what its letters and timers mean.
 *
 * Protected methods are a matter of TypeScript only: at runtime any method of a prototype can be called over RPC. That is relied on: only
 * this Worker has bindings to its objects, and `remote` types their stubs by what is public. Fields cannot be reached over RPC.
 */
export abstract class StoredObject extends DurableObject<Env> {
  protected readonly sql = this.ctx.storage.sql;
  protected readonly outbox = new Outbox(this.ctx.storage, (key) => this.deliver(key));
  protected readonly watchers = new Watchers();
  readonly #migrations: readonly Migration[];
  /** Whether its tables are there; asking SQLite each time would cost more than most reads. */
  #born: boolean;

  constructor(ctx: DurableObjectState, env: Env, migrations: readonly Migration[]) {
    super(ctx, env);
    this.#migrations = migrations;
    this.#born = hasTables(this.sql);
    if (this.#born) migrate(ctx.storage, migrations);
  }

  /** Says the present truth about a letter's subject; throws when it could not be said, and it is then tried again later, for ever. */
  protected abstract deliver(key: string): Promise<void>;

  /** Asks others what the decision about a timer depends on, before any is taken. */
  protected async beforeDue(_now: number): Promise<void> {}

  /** Decides about a timer whose time has come, inside the transaction that took it. */
  protected due(_timer: Timer, _now: number): void {}

  /** Whether all that it keeps may go, once its alarm has done what was due. */
  protected isForgotten(_now: number): boolean {
    return false;
  }

  /** The name that it is asked for by: the id of a resource. */
  protected get id(): string {
    return this.ctx.id.name as string;
  }

  /**
   * Whether it has ever been made. An object that is only asked about writes nothing, so that a look at a mistyped id leaves no storage
   * behind; `bear` is what brings it into being.
   */
  protected get isBorn(): boolean {
    return this.#born;
  }

  protected bear(): void {
    if (!this.#born) migrate(this.ctx.storage, this.#migrations);
    this.#born = true;
  }

  /** One change as one transaction; what follows from it comes after. */
  protected change<T>(work: (now: number) => T): T {
    // Nobody is here: there is nothing to write, and no table to write it to.
    if (!this.#born) return work(Date.now());
    const result = commit(this.ctx.storage, () => work(Date.now()));
    this.afterCommit();
    return result;
  }

  /** Whoever watches is woken, and letters are sent. */
  protected afterCommit(): void {
    this.watchers.notify();
    this.ctx.waitUntil(this.outbox.drain());
  }

  /** The journal after a seq: at once when there is more, else when there is, or none after `waitMs`. */
  protected async journalAfter(seq: number, waitMs: number): Promise<{ seq: number; body: string }[]> {
    if (cursor(this.sql) <= seq) await this.watchers.next(waitMs);
    return this.#born ? after(this.sql, seq, 500) : [];
  }

  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    if (!this.#born || isPostponed(this.ctx.storage, info)) return;
    try {
      do {
        await this.beforeDue(Date.now());
        while (this.change((now) => this.#takeDue(now)));
      } while (!(await this.#isSent()));
      if (this.isForgotten(Date.now())) {
        this.#born = false;
        await this.ctx.storage.deleteAll();
      }
    } finally {
      if (this.#born) rearm(this.ctx.storage);
    }
  }

  /** Sends what there is to send. False: a timer has come due meanwhile, which does not wait for a delivery that hangs. */
  async #isSent(): Promise<boolean> {
    let sent = false;
    const sending = this.outbox.drain().then(() => {
      sent = true;
    });
    const over = new AbortController();
    try {
      while (!sent) {
        const left = (nextTimer(this.sql) ?? Infinity) - Date.now();
        if (left <= 0) return false;
        // A change may bring a timer forward.
        await Promise.race([sending, this.watchers.next(Math.min(left, LONGEST_WAIT_MS), over.signal)]);
      }
      return true;
    } finally {
      over.abort();
    }
  }

  #takeDue(now: number): boolean {
    const timer = takeDue(this.sql, now);
    if (timer) this.due(timer, now);
    return timer !== undefined;
  }

  /** Sets the alarm anew and looks after what is due: for an object whose alarm may have been lost. */
  async poke(): Promise<void> {
    if (this.#born) await this.alarm();
  }

  /** Seals anew, with the newest key, whatever of it is sealed. */
  async reseal(): Promise<Reply<Resealed>> {
    return this.#born ? resealed(this.ctx.storage, this.env) : { ok: true, value: { resealed: 0, left: {} } };
  }
}

const hasTables = (sql: SqlStorage): boolean =>
  sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migration'").toArray().length > 0;
