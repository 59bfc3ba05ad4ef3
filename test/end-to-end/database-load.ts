// Clients of a database that write, read and come and go all the time, and what they were answered.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";

type Failure = { at: number; what: string; code: string; message: string };

/** How its clients come and go. */
export type Entrance = { connect(timeoutMs?: number): Promise<pg.Client>; end(client: pg.Client): Promise<void> };

/** The table `load (n int PRIMARY KEY)` has to be there. */
export class DatabaseLoad {
  readonly acknowledged = new Set<number>();
  readonly failures: Failure[] = [];
  /** How long each new connection took, from its first byte to its first row, ms. */
  readonly arrivals: number[] = [];
  readonly #entrance: Entrance;
  #running: Promise<void>[] = [];
  #next = 0;
  #isOver = false;

  constructor(entrance: Entrance) {
    this.#entrance = entrance;
  }

  /** So many sessions that write again and again, each row with a number of its own; a lost one is made anew. */
  write(sessions: number, pauseMs = 20): void {
    for (let i = 0; i < sessions; i++) this.#running.push(this.#writer(pauseMs));
  }

  /** New clients one after the other, each with one question. */
  arrive(everyMs: number): void {
    this.#running.push(this.#arrivals(everyMs));
  }

  /** It may be begun again then. */
  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
    this.#running = [];
    this.#isOver = false;
  }

  /** Acknowledged before it is asked, and not there. */
  async missing(): Promise<number[]> {
    const acknowledged = [...this.acknowledged];
    const client = await this.#entrance.connect(60_000);
    const asked = client.query<{ n: number }>("SELECT n FROM load");
    const { rows } = await asked.finally(() => this.#entrance.end(client).catch(() => {}));
    const there = new Set(rows.map(({ n }) => n));
    return acknowledged.filter((n) => !there.has(n));
  }

  async #writer(pauseMs: number): Promise<void> {
    let client: pg.Client | null = null;
    while (!this.#isOver) {
      const n = this.#next++;
      try {
        client ??= await this.#entrance.connect();
        await client.query("INSERT INTO load VALUES ($1)", [n]);
        this.acknowledged.add(n);
      } catch (error) {
        this.#note("write", error);
        await client?.end().catch(() => {});
        client = null;
        await sleep(100);
      }
      await sleep(pauseMs);
    }
    if (client) await this.#entrance.end(client).catch(() => {});
  }

  async #arrivals(everyMs: number): Promise<void> {
    while (!this.#isOver) {
      const at = performance.now();
      try {
        const client = await this.#entrance.connect();
        await client.query("SELECT count(*) FROM load");
        this.arrivals.push(performance.now() - at);
        await this.#entrance.end(client);
      } catch (error) {
        this.#note("arrive", error);
      }
      await sleep(everyMs);
    }
  }

  #note(what: string, error: unknown): void {
    const { code = "", message } = error as { code?: string; message: string };
    this.failures.push({ at: Date.now(), what, code, message });
  }
}
