import type { AgentBody, ControlBody } from "../../contract/frame.ts";
import { WRITER_LEASE_MS, WRITER_RENEW_MS } from "../../contract/writer.ts";
import { KeeperLeases, type KeptWriter } from "./keeper-leases.ts";
import { type Renewal, thisMoment } from "./lease.ts";

type Writer = {
  generation: number;
  database: string;
  /** The control plane has let it start: to this agent, or to an earlier one. */
  granted: boolean;
  /** When the control plane was last asked that said yes; null: not yet by this agent. */
  heard: Renewal["sent"] | null;
  /** The control plane has said no: it may not go on on anybody else's word. */
  refused: boolean;
};

export type Serving = {
  renew(database: string, term: number, renewal: Renewal): Promise<void>;
  /** Who else may let a writer go on that runs or is being started; null when it is neither. */
  keptBy(id: string, term: number): KeptWriter | null;
};

/** So many questions are remembered that have not been answered. */
const UNANSWERED_MOST = 8;
/** After so long without an answer of the control plane the keepers are asked, twice before the lease is over. */
const SILENT_AFTER_MS = 1.5 * WRITER_RENEW_MS;
/** A writer that an earlier agent has started may have little left of its lease. */
const LINK_WITHIN_MS = 1_500;

/**
 * Keeps the leases of this host's writers going: one question for all of them, every few seconds, and whenever there is another one. It is put to
 * the control plane; while that says nothing, to the keepers.
 */
export class Renewals {
  readonly #writers = new Map<string, Writer>();
  readonly #sent = new Map<number, { sent: Renewal["sent"]; writers: Map<string, number> }>();
  readonly #waiting = new Set<() => void>();
  readonly #due: () => void;
  readonly #log: (line: string) => void;
  readonly #keepers = new KeeperLeases();
  #serving: Serving = { renew: async () => {}, keptBy: () => null };
  #nth = 0;
  #timer: NodeJS.Timeout | null = null;
  #isSilent = false;

  /** @param due told when there is a question to be sent: `question` has it */
  constructor(due: () => void, log: (line: string) => void) {
    this.#due = due;
    this.#log = log;
  }

  serve(serving: Serving): void {
    this.#serving = serving;
  }

  add(id: string, generation: number, database: string, granted = false): void {
    this.#writers.set(id, { generation, database, granted, heard: null, refused: false });
    this.#timer ??= setInterval(() => this.#tick(), WRITER_RENEW_MS).unref();
    this.#due();
  }

  /** One that runs since before this agent was started. */
  adopt(id: string, generation: number, database: string): void {
    this.add(id, generation, database, true);
    setTimeout(() => void this.#askKeepers(), LINK_WITHIN_MS).unref();
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
    const asked = new Map([...this.#writers].map(([id, { generation }]) => [id, generation]));
    this.#sent.set(nth, { sent: thisMoment(), writers: asked });
    this.#sent.delete(nth - UNANSWERED_MOST);
    return { kind: "renew", nth, writers: [...asked].map(([id, generation]) => ({ id, generation })) };
  }

  async answered({ nth, ttl_ms: ttlMs, writers }: Extract<ControlBody, { kind: "renewed" }>): Promise<void> {
    const question = this.#sent.get(nth);
    if (question === undefined) return;
    this.#sent.delete(nth);
    const { sent } = question;
    const granted = new Map(writers.map(({ id, generation }) => [id, generation]));
    for (const [id, generation] of question.writers) {
      const writer = this.#writers.get(id);
      if (writer?.generation !== generation || (writer.heard?.monotonic ?? 0) > sent.monotonic) continue;
      writer.heard = sent;
      writer.refused = granted.get(id) !== generation;
      if (!writer.refused) await this.#goOn(id, writer, { sent, ttlMs });
    }
    for (const wake of this.#waiting) wake();
  }

  async #goOn(id: string, writer: Writer, renewal: Renewal): Promise<void> {
    try {
      await this.#serving.renew(writer.database, writer.generation, renewal);
      writer.granted = true;
    } catch (error) {
      this.#log(`${id}: its lease could not be renewed: ${(error as Error).message}`);
    }
  }

  #tick(): void {
    this.#due();
    void this.#askKeepers();
  }

  /** For those of which the control plane has said nothing for long, since it let them start. */
  async #askKeepers(): Promise<void> {
    const { monotonic } = thisMoment();
    const silent = [...this.#writers].flatMap(([id, writer]) => {
      const isHeard = writer.heard !== null && monotonic - writer.heard.monotonic < SILENT_AFTER_MS;
      const mayNot = isHeard || writer.refused || !writer.granted;
      const kept = mayNot ? null : this.#serving.keptBy(id, writer.generation);
      return kept === null ? [] : [{ id, writer, kept }];
    });
    if (silent.length > 0 && !this.#isSilent)
      this.#log("the control plane is silent: the keepers are asked for leases");
    this.#isSilent = silent.length > 0;
    const byDatabase = new Map(silent.map((one) => [one.kept.database, one]));
    await this.#keepers.ask(
      silent.map(({ kept }) => kept),
      ({ database }, sent) => {
        const one = byDatabase.get(database);
        // The control plane may have said no meanwhile.
        if (one === undefined || one.writer.refused || this.#writers.get(one.id) !== one.writer) return;
        void this.#goOn(one.id, one.writer, { sent, ttlMs: WRITER_LEASE_MS });
      },
    );
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
