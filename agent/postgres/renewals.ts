import type { AgentBody, ControlBody } from "../../contract/frame.ts";
import { WRITER_RENEW_MS } from "../../contract/writer.ts";
import { type Renewal, thisMoment } from "./lease.ts";

type Writer = { generation: number; database: string; granted: boolean };
type Serve = (database: string, term: number, renewal: Renewal) => Promise<void>;

/** So many questions are remembered that have not been answered. */
const UNANSWERED_MOST = 8;

/** Keeps the leases of this host's writers going: one question for all of them, every few seconds, and whenever there is another one. */
export class Renewals {
  readonly #writers = new Map<string, Writer>();
  readonly #sent = new Map<number, Renewal["sent"]>();
  readonly #waiting = new Set<() => void>();
  readonly #due: () => void;
  readonly #log: (line: string) => void;
  #serve: Serve = async () => {};
  #nth = 0;
  #timer: NodeJS.Timeout | null = null;

  /** @param due told when there is a question to be sent: `question` has it */
  constructor(due: () => void, log: (line: string) => void) {
    this.#due = due;
    this.#log = log;
  }

  serve(serve: Serve): void {
    this.#serve = serve;
  }

  add(id: string, generation: number, database: string): void {
    this.#writers.set(id, { generation, database, granted: false });
    this.#timer ??= setInterval(() => this.#due(), WRITER_RENEW_MS).unref();
    this.#due();
  }

  drop(id: string, generation: number): void {
    if (this.#writers.get(id)?.generation === generation) this.#writers.delete(id);
    if (this.#writers.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  /** The question, as of now; null when no writer is here. */
  question(): AgentBody | null {
    if (this.#writers.size === 0) return null;
    const nth = ++this.#nth;
    this.#sent.set(nth, thisMoment());
    this.#sent.delete(nth - UNANSWERED_MOST);
    const writers = [...this.#writers].map(([id, { generation }]) => ({ id, generation }));
    return { kind: "renew", nth, writers };
  }

  async answered({ nth, ttl_ms: ttlMs, writers }: Extract<ControlBody, { kind: "renewed" }>): Promise<void> {
    const sent = this.#sent.get(nth);
    if (sent === undefined) return;
    this.#sent.delete(nth);
    for (const { id, generation } of writers) {
      const writer = this.#writers.get(id);
      if (writer?.generation !== generation) continue;
      try {
        await this.#serve(writer.database, generation, { sent, ttlMs });
        writer.granted = true;
      } catch (error) {
        this.#log(`${id}: its lease could not be renewed: ${(error as Error).message}`);
      }
    }
    for (const wake of this.#waiting) wake();
  }

  /** Whether the lease of a writer was granted, within a time. */
  async granted(id: string, generation: number, withinMs: number, signal: AbortSignal): Promise<boolean> {
    const end = performance.now() + withinMs;
    for (;;) {
      const writer = this.#writers.get(id);
      if (writer?.generation !== generation || signal.aborted) return false;
      if (writer.granted) return true;
      const left = end - performance.now();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer);
          this.#waiting.delete(done);
          signal.removeEventListener("abort", done);
          resolve();
        };
        const timer = setTimeout(done, Math.min(left, 1_000));
        this.#waiting.add(done);
        signal.addEventListener("abort", done);
      });
    }
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
