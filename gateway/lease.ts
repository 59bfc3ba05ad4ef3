import { CLIENTS_NAMED, type Endpoint, type LeaseFrame } from "../contract/gateway.ts";
import type { Counters } from "./counters.ts";
import type { DatabaseDirectory, LeaseLine } from "./directory.ts";
import type { Grant, Guest } from "./guest.ts";
import { type Refusal, refusal } from "./refusal.ts";

const RETRY_LEAST_MS = 1_000;
const RETRY_MOST_MS = 30_000;
const RENEW_JITTER = 0.1;
/**
 * That somebody is there, or nobody any more, is said once it has been so for this long, and not only with the next renewal: why a database is
 * awake is then true, it sleeps in time, and clients that come and go cost nothing.
 */
const TOLD_AFTER_MS = 1_000;
/** After so long without an answer the control plane cannot be reached, and what it said last has to do. */
const PATIENCE_MS = 1_000;
/** An answer to an older frame than this many ago no longer counts. */
const UNANSWERED_MOST = 8;

/** Where PostgreSQL was when that was last heard. */
export type Known = { term: number; endpoint: Endpoint };

type Waiter = { guest: Guest; admit: (grant: Grant) => void; refuse: (why: Refusal) => void };
type Staying = { guest: Guest; term: number };

export type LeaseOptions = {
  databaseId: string;
  gateway: string;
  directory: DatabaseDirectory;
  counters: Counters;
  /** How long the lease is kept with nobody there. */
  lingerMs: number;
  /** After so long without an answer of the control plane nobody waits for it any more. */
  awayMs: number;
  log: (line: string) => void;
  changed: () => void;
  /** What an earlier lease of it left. */
  known?: Known | undefined;
  /** Nobody is there and nothing is said any more; all but what was known may be forgotten. */
  ended: (known: Known | null) => void;
  now?: () => number;
};

/**
 * One gateway's lease of one database: whether PostgreSQL may be connected to, and where. However many clients come, there is one conversation, and
 * one wake. Its rules are in docs/design/gateway.md.
 */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #now: () => number;
  readonly #waiting = new Set<Waiter>();
  readonly #staying = new Set<Staying>();
  readonly #sentAt = new Map<number, number>();
  #line: LeaseLine | null = null;
  #seq = 0;
  /** The last that was heard of, and not that it is gone. */
  #known: Known | null;
  /** The control plane's word is that one may come in there: none that was taken back since by `quiet`, and none that proved wrong. */
  #isOpen = false;
  /** Since when an answer is waited for; null: the last question was answered. */
  #askedAt: number | null = null;
  #patience: NodeJS.Timeout | null = null;
  #suspect: { term: number; why: string } | null = null;
  /** The highest term heard of; what is older is not listened to. */
  #term = 0;
  #expiresAt = 0;
  #asked = false;
  #failed: { until: number; message: string } | null = null;
  #lastActive: number | null = null;
  #renewMs = 10_000;
  #renewal: NodeJS.Timeout | null = null;
  #linger: NodeJS.Timeout | null = null;
  #saidBusy = false;
  #news: NodeJS.Timeout | null = null;
  #message = "";

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#known = options.known ?? null;
    this.#term = this.#known?.term ?? 0;
  }

  get sessions(): number {
    return this.#staying.size;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Why it waits, for a person. */
  get message(): string {
    return this.#message;
  }

  /** Resolves once PostgreSQL may be connected to; wakes the database when it sleeps. */
  enter(guest: Guest, signal: AbortSignal): Promise<Grant> {
    this.#stopLingering();
    if (this.#usable) return Promise.resolve(this.#admit(guest));
    if (this.#failed !== null && this.#now() < this.#failed.until) {
      this.#startLingering();
      return Promise.reject(refusal("wake_failed", { detail: this.#failed.message }));
    }
    const hopeless = signal.aborted ? (signal.reason as Error) : this.isAway ? refusal("no_control_plane") : null;
    if (hopeless !== null) {
      this.#startLingering();
      return Promise.reject(hopeless);
    }
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#waiting.delete(waiter);
        this.#options.counters.waiting--;
        signal.removeEventListener("abort", abort);
      };
      const abort = () => {
        done();
        reject(signal.reason as Error);
        this.#startLingering();
      };
      const waiter: Waiter = {
        guest,
        admit: (grant) => {
          done();
          resolve(grant);
        },
        refuse: (why) => {
          done();
          reject(why);
        },
      };
      signal.addEventListener("abort", abort);
      this.#waiting.add(waiter);
      this.#options.counters.waiting++;
      this.#ask();
      this.#waitPatiently();
    });
  }

  /** The endpoint of this term does not answer as it should. Who enters now waits for a newer word of the control plane, while that can be had. */
  suspect(term: number, why: string): void {
    if (this.#known?.term !== term) return;
    this.#isOpen = false;
    this.#suspect = { term, why };
    this.#asked = false;
  }

  /** Ends all that is here. */
  close(why: Refusal): void {
    for (const waiter of [...this.#waiting]) waiter.refuse(why);
    for (const { guest } of [...this.#staying]) guest.end(why);
    this.#release();
  }

  /** Whoever waits is refused; sessions go on. */
  refuseWaiting(why: Refusal): void {
    for (const waiter of [...this.#waiting]) waiter.refuse(why);
    this.#startLingering();
  }

  /** Without the control plane too: a writer that was overtaken ends by itself, and none is stopped with a client there. */
  get #usable(): boolean {
    return this.#known !== null && (this.#isConfirmed || this.#isAlone);
  }

  get #isConfirmed(): boolean {
    return this.#isOpen && this.#now() < this.#expiresAt;
  }

  get #isAlone(): boolean {
    return this.#unansweredMs >= PATIENCE_MS;
  }

  /** The control plane has been silent for so long that what only it can do is not worth waiting for. */
  get isAway(): boolean {
    return this.#unansweredMs >= this.#options.awayMs;
  }

  get #unansweredMs(): number {
    return this.#askedAt === null ? 0 : this.#now() - this.#askedAt;
  }

  #admit(guest: Guest): Grant {
    const { term, endpoint } = this.#known as Known;
    const unconfirmed = !this.#isConfirmed;
    const staying = { guest, term };
    this.#staying.add(staying);
    this.#lastActive = this.#now();
    this.#tellSoon();
    const leave = () => {
      if (!this.#staying.delete(staying)) return;
      this.#lastActive = this.#now();
      this.#startLingering();
    };
    return { term, endpoint, current: () => this.#term <= term, unconfirmed, leave };
  }

  /** Asks for the database to be awake, once for all who wait. */
  #ask(): void {
    if (this.#line === null) {
      this.#asked = false;
      this.#askedAt ??= this.#now();
      this.#line = this.#options.directory.converse(this.#options.databaseId, {
        heard: (frame) => this.#hear(frame),
        up: () => {
          // What was asked on a line that was cut is not answered any more.
          this.#sentAt.clear();
          this.#restate();
        },
      });
      return;
    }
    if (!this.#asked) this.#restate();
  }

  /** Says how things are; by that the lease is acquired and renewed. */
  #restate(): void {
    const { gateway, counters } = this.#options;
    const wake = this.#waiting.size > 0;
    if (wake && !this.#asked) counters.wakes_total++;
    this.#asked = wake;
    this.#saidBusy = this.#waiting.size + this.#staying.size > 0;
    this.#tellSoon();
    const waiting = [...this.#waiting].slice(0, CLIENTS_NAMED).map(({ guest }) => guest.describe());
    const staying = [...this.#staying].map(({ guest }) => guest.describe());
    if (staying.some(({ phase }) => phase !== "idle")) this.#lastActive = this.#now();
    const seq = ++this.#seq;
    this.#sentAt.set(seq, this.#now());
    this.#askedAt ??= this.#now();
    this.#sentAt.delete(seq - UNANSWERED_MOST);
    this.#line?.send({
      kind: "lease",
      seq,
      gateway,
      wake,
      term: this.#isOpen ? (this.#known?.term ?? null) : null,
      suspect: this.#suspect,
      sessions: this.#staying.size,
      in_transaction: staying.filter(({ phase }) => phase === "in_transaction").length,
      waiting: this.#waiting.size,
      idle_ms: this.#idleMs(),
      clients: [...waiting, ...staying].slice(0, CLIENTS_NAMED),
    });
    this.#renewLater();
  }

  #renewLater(): void {
    stopped(this.#renewal);
    const jitter = 1 + RENEW_JITTER * (2 * Math.random() - 1);
    this.#renewal = setTimeout(() => this.#restate(), this.#renewMs * jitter);
  }

  /** Lets those who wait in by what is known when the control plane does not answer in time, and refuses them when nothing is and it stays away. */
  #waitPatiently(): void {
    if (this.#patience !== null || this.#waiting.size === 0) return;
    this.#patience = setTimeout(() => {
      this.#patience = null;
      if (this.#isAlone) this.#serve();
      if (this.isAway) this.refuseWaiting(refusal("no_control_plane"));
      this.#waitPatiently();
    }, PATIENCE_MS);
  }

  #forget(): void {
    this.#known = null;
    this.#isOpen = false;
  }

  #hear(frame: LeaseFrame): void {
    switch (frame.kind) {
      case "granted": {
        const sentAt = this.#sentAt.get(frame.seq);
        if (sentAt === undefined) return;
        this.#askedAt = null;
        for (const seq of this.#sentAt.keys()) if (seq <= frame.seq) this.#sentAt.delete(seq);
        this.#expiresAt = Math.max(this.#expiresAt, sentAt + frame.ttl_ms);
        if (this.#renewMs !== frame.renew_ms) {
          this.#renewMs = frame.renew_ms;
          this.#renewLater();
        }
        this.#serve();
        return;
      }
      case "waking":
        // There will be another.
        this.#forget();
        this.#message = frame.message;
        for (const { guest } of this.#waiting) guest.progress(frame.message);
        return;
      case "ready":
        this.#ready(frame.term, frame.endpoint);
        return;
      case "failed": {
        this.#options.counters.wakes_failed_total++;
        this.#forget();
        this.#asked = false;
        const wait = frame.retry_after_ms;
        if (wait !== null)
          this.#failed = {
            until: this.#now() + Math.min(RETRY_MOST_MS, Math.max(RETRY_LEAST_MS, wait)),
            message: frame.message,
          };
        this.refuseWaiting(refusal("wake_failed", { detail: frame.message }));
        return;
      }
      case "quiesce": {
        const quiet = this.#staying.size === 0 && this.#waiting.size === 0;
        // From this answer on nobody may connect on the strength of what was known before it, while the control plane can be asked.
        if (quiet) this.#isOpen = false;
        const [sessions, waiting] = [this.#staying.size, this.#waiting.size];
        this.#line?.send({ kind: "quiet", stop: frame.stop, quiet, sessions, waiting });
        return;
      }
      case "stopped":
        if (this.#known !== null && this.#known.term <= frame.term) this.#forget();
        this.#term = Math.max(this.#term, frame.term);
        this.#asked = false;
        if (this.#waiting.size > 0) this.#restate();
        else if (this.#staying.size === 0) this.#release();
        return;
      case "revoked":
        this.#forget();
        this.close(refusal("revoked", { detail: frame.message }));
        return;
      case "changed":
        this.#options.changed();
        return;
    }
  }

  #ready(term: number, endpoint: Endpoint): void {
    if (term < this.#term) return;
    this.#term = term;
    this.#known = { term, endpoint };
    this.#isOpen = true;
    this.#suspect = null;
    this.#failed = null;
    this.#message = "";
    const older = [...this.#staying].filter((staying) => staying.term < term);
    if (older.length > 0) this.#options.log(`term ${term}: ending ${older.length} sessions of older ones`);
    for (const { guest } of older) guest.end(refusal("superseded"));
    this.#serve();
  }

  #serve(): void {
    if (this.#known === null || this.#waiting.size === 0) return;
    if (!this.#usable) {
      // It was awake all along, but the lease ran out meanwhile. An answer that is on its way renews it.
      if (this.#isOpen && this.#sentAt.size === 0) this.#restate();
      return;
    }
    this.#asked = false;
    for (const waiter of [...this.#waiting]) waiter.admit(this.#admit(waiter.guest));
  }

  #idleMs(): number | null {
    return this.#lastActive === null ? null : Math.round(this.#now() - this.#lastActive);
  }

  /** After whoever was there has changed. */
  #tellSoon(): void {
    const isBusy = this.#waiting.size + this.#staying.size > 0;
    this.#news = stopped(this.#news);
    if (this.#line === null || isBusy === this.#saidBusy) return;
    this.#news = setTimeout(() => this.#restate(), TOLD_AFTER_MS);
    this.#news.unref();
  }

  #startLingering(): void {
    this.#tellSoon();
    if (this.#staying.size > 0 || this.#waiting.size > 0 || this.#linger !== null) return;
    this.#linger = setTimeout(() => this.#release(), this.#options.lingerMs);
    this.#linger.unref();
  }

  #stopLingering(): void {
    this.#linger = stopped(this.#linger);
  }

  #release(): void {
    this.#stopLingering();
    this.#news = stopped(this.#news);
    this.#renewal = stopped(this.#renewal);
    this.#patience = stopped(this.#patience);
    this.#isOpen = false;
    this.#askedAt = null;
    this.#expiresAt = 0;
    this.#asked = false;
    this.#line?.send({ kind: "release", idle_ms: this.#idleMs() });
    this.#line?.close();
    this.#line = null;
    this.#options.ended(this.#known);
  }
}

function stopped(timer: NodeJS.Timeout | null): null {
  clearTimeout(timer ?? undefined);
  return null;
}
