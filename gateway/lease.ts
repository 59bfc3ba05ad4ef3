import { CLIENTS_NAMED, type Endpoint, type GatewayClient, type LeaseFrame } from "../contract/gateway.ts";
import type { Counters } from "./counters.ts";
import type { DatabaseDirectory, LeaseLine } from "./directory.ts";
import { type Refusal, refusal } from "./refusal.ts";

const RETRY_LEAST_MS = 1_000;
const RETRY_MOST_MS = 30_000;
const RENEW_JITTER = 0.1;
/**
 * That somebody is there, or nobody any more, is said once it has been so for this long, and not only with the next renewal: why a database is
 * awake is then true, it sleeps in time, and clients that come and go cost nothing.
 */
const TOLD_AFTER_MS = 1_000;
/** An answer to an older frame than this many ago no longer counts. */
const UNANSWERED_MOST = 8;

/** A client that uses the database, or waits to. */
export type Guest = {
  describe(): GatewayClient;
  /** Told when its session has to end. */
  end(why: Refusal): void;
  /** What the control plane says about the start that it waits for. */
  progress(message: string): void;
};

/** Leave to connect to PostgreSQL. It counts as a session until `leave`. */
export type Grant = {
  term: number;
  endpoint: Endpoint;
  /** No newer writer has been heard of since. */
  current(): boolean;
  leave(): void;
};

type Waiter = { guest: Guest; admit: (grant: Grant) => void; refuse: (why: Refusal) => void };
type Staying = { guest: Guest; term: number };

export type LeaseOptions = {
  databaseId: string;
  gateway: string;
  directory: DatabaseDirectory;
  counters: Counters;
  /** How long the lease is kept with nobody there. */
  lingerMs: number;
  log: (line: string) => void;
  changed: () => void;
  /** Nobody is there and nothing is said any more; it may be forgotten. */
  ended: () => void;
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
  #endpoint: { term: number; endpoint: Endpoint } | null = null;
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
    // The lease ran out: another writer may have been started since.
    this.#endpoint = null;
    if (this.#failed !== null && this.#now() < this.#failed.until) {
      this.#startLingering();
      return Promise.reject(refusal("wake_failed", { detail: this.#failed.message }));
    }
    if (signal.aborted) {
      this.#startLingering();
      return Promise.reject(signal.reason as Error);
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
    });
  }

  /** The endpoint of this term does not answer as it should. Who enters now waits for a newer word of the control plane. */
  suspect(term: number, why: string): void {
    if (this.#endpoint?.term !== term) return;
    this.#endpoint = null;
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

  get #usable(): boolean {
    return this.#endpoint !== null && this.#now() < this.#expiresAt;
  }

  #admit(guest: Guest): Grant {
    const { term, endpoint } = this.#endpoint as { term: number; endpoint: Endpoint };
    const staying = { guest, term };
    this.#staying.add(staying);
    this.#lastActive = this.#now();
    this.#tellSoon();
    const leave = () => {
      if (!this.#staying.delete(staying)) return;
      this.#lastActive = this.#now();
      this.#startLingering();
    };
    return { term, endpoint, current: () => this.#term <= term, leave };
  }

  /** Asks for the database to be awake, once for all who wait. */
  #ask(): void {
    if (this.#line === null) {
      this.#asked = false;
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
    this.#sentAt.delete(seq - UNANSWERED_MOST);
    this.#line?.send({
      kind: "lease",
      seq,
      gateway,
      wake,
      term: this.#endpoint?.term ?? null,
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
    if (this.#renewal !== null) clearTimeout(this.#renewal);
    const jitter = 1 + RENEW_JITTER * (2 * Math.random() - 1);
    this.#renewal = setTimeout(() => this.#restate(), this.#renewMs * jitter);
  }

  #hear(frame: LeaseFrame): void {
    switch (frame.kind) {
      case "granted": {
        const sentAt = this.#sentAt.get(frame.seq);
        if (sentAt === undefined) return;
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
        this.#message = frame.message;
        for (const { guest } of this.#waiting) guest.progress(frame.message);
        return;
      case "ready":
        this.#ready(frame.term, frame.endpoint);
        return;
      case "failed": {
        this.#options.counters.wakes_failed_total++;
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
        // From this answer on nobody may connect on the strength of what was known before it.
        if (quiet) this.#endpoint = null;
        const [sessions, waiting] = [this.#staying.size, this.#waiting.size];
        this.#line?.send({ kind: "quiet", stop: frame.stop, quiet, sessions, waiting });
        return;
      }
      case "stopped":
        if (this.#endpoint !== null && this.#endpoint.term <= frame.term) this.#endpoint = null;
        this.#term = Math.max(this.#term, frame.term);
        this.#asked = false;
        if (this.#waiting.size > 0) this.#restate();
        else if (this.#staying.size === 0) this.#release();
        return;
      case "revoked":
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
    this.#endpoint = { term, endpoint };
    this.#suspect = null;
    this.#failed = null;
    this.#message = "";
    const older = [...this.#staying].filter((staying) => staying.term < term);
    if (older.length > 0) this.#options.log(`term ${term}: ending ${older.length} sessions of older ones`);
    for (const { guest } of older) guest.end(refusal("superseded"));
    this.#serve();
  }

  #serve(): void {
    if (this.#endpoint === null || this.#waiting.size === 0) return;
    if (!this.#usable) {
      // It was awake all along, but the lease ran out meanwhile. An answer that is on its way renews it.
      if (this.#sentAt.size === 0) this.#restate();
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
    if (this.#news !== null) clearTimeout(this.#news);
    this.#news = null;
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
    if (this.#linger !== null) clearTimeout(this.#linger);
    this.#linger = null;
  }

  #release(): void {
    this.#stopLingering();
    if (this.#news !== null) clearTimeout(this.#news);
    this.#news = null;
    if (this.#renewal !== null) clearTimeout(this.#renewal);
    this.#renewal = null;
    this.#endpoint = null;
    this.#expiresAt = 0;
    this.#asked = false;
    this.#line?.send({ kind: "release", idle_ms: this.#idleMs() });
    this.#line?.close();
    this.#line = null;
    this.#options.ended();
  }
}
