import { accept, type Reply } from "../../contract/problem.ts";
import { open } from "../sealing.ts";
import { afterAttempt, type EndpointDecision, isBroken, type Outcome } from "./decide.ts";
import { due, hasten, type Queued, settle } from "./queue.ts";
import { signing, type WebhookRecord } from "./record.ts";
import { type Attempted, attempt } from "./send.ts";
import { wayOut } from "./way.ts";

/** How many resources' events are on their way at once: the platform gives six connections, and one is left for others. */
const AT_ONCE = 5;

/** What the flights need of their object. */
export type Tower = {
  id: string;
  env: object;
  sql: SqlStorage;
  load: () => WebhookRecord | null;
  /** A change, made in one transaction with others that come at about the same time. */
  change: (work: (now: number) => void) => Promise<void>;
  /** What became of the endpoint itself. Inside a change. */
  note: (record: WebhookRecord, decision: EndpointDecision, now: number) => void;
  waitUntil: (promise: Promise<void>) => void;
};

/**
 * Events on their way to an endpoint, one of each resource at a time. Which they are is in memory only: after a crash an event is still
 * pending, and is sent again under the same id.
 */
export class Flights {
  readonly #tower: Tower;
  readonly #flying = new Set<string>();
  /** Opened secrets by what they are sealed as. */
  readonly #opened = new Map<string, string>();

  constructor(tower: Tower) {
    this.#tower = tower;
  }

  /** Starts what is due, as many as may be. Call it after every change. */
  start(now: number): void {
    const { sql, load, waitUntil } = this.#tower;
    const record = load();
    if (record?.state.status !== "active" || (record.state.held_until ?? 0) > now) return;
    const room = (isBroken(record.state) ? 1 : AT_ONCE) - this.#flying.size;
    if (room <= 0) return;
    const ready = due(sql, now, AT_ONCE + this.#flying.size).filter((one) => !this.#flying.has(one.resource));
    for (const event of ready.slice(0, room)) {
      this.#flying.add(event.resource);
      waitUntil(this.#fly(record, event));
    }
  }

  /** One attempt, with every secret that signs now. Never throws. */
  async attempt(record: WebhookRecord, event: Queued): Promise<Attempted> {
    const { url, ring_headers } = record.config;
    const secrets: string[] = [];
    for (const { sealed } of signing(record, Date.now())) {
      const secret = await this.#open(sealed);
      if (!secret.ok) return notSent(secret.refusal.detail);
      secrets.push(secret.value);
    }
    const { id, type, body } = event;
    return attempt({ url, id, type, body, secrets, ringHeaders: ring_headers }, wayOut(this.#tower.env), Date.now);
  }

  async #fly(record: WebhookRecord, event: Queued): Promise<void> {
    const { sql, load, change, note } = this.#tower;
    const attempted = await this.attempt(record, event);
    const noted = change((now) => {
      // Not before: until it is noted, it is still due.
      this.#flying.delete(event.resource);
      const present = load();
      if (!present) return;
      const decision = afterAttempt(present.state, event.attempts, outcomeOf(attempted), {
        now,
        jitter: Math.random(),
      });
      settle(sql, event, attempted, decision.fate, now);
      note(present, decision, now);
      if (decision.recovered) hasten(sql, now);
    });
    await noted.catch((error: unknown) => {
      this.#flying.delete(event.resource);
      throw error;
    });
  }

  async #open(sealed: string): Promise<Reply<string>> {
    const known = this.#opened.get(sealed);
    if (known !== undefined) return accept(known);
    const secret = await open(this.#tower.env, sealed, this.#tower.id);
    if (secret.ok) this.#opened.set(sealed, secret.value);
    return secret;
  }
}

const notSent = (error: string): Attempted => ({
  outcome: "failed",
  status: null,
  latency_ms: 0,
  error,
  response: "",
  retry_after_ms: null,
});

const outcomeOf = ({ outcome, status, error, retry_after_ms }: Attempted): Outcome =>
  outcome === "delivered" ? { type: "delivered" } : { type: "failed", status, error: error ?? "", retry_after_ms };
