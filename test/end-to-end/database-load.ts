// Clients of a database that write, read and come and go all the time, and what they were answered.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { DatabaseSite, Made } from "./database-site.ts";

type Failure = { at: number; what: string; code: string; message: string };

export class DatabaseLoad {
  readonly acknowledged = new Set<number>();
  readonly failures: Failure[] = [];
  /** How long each new connection took, from its first byte to its first row, ms. */
  readonly arrivals: number[] = [];
  readonly #site: DatabaseSite;
  readonly #made: Made;
  readonly #running: Promise<void>[] = [];
  #next = 0;
  #isOver = false;

  constructor(site: DatabaseSite, made: Made) {
    this.#site = site;
    this.#made = made;
  }

  /** So many sessions that write again and again; a lost one is made anew. */
  write(sessions: number, pauseMs = 20): void {
    for (let i = 0; i < sessions; i++) this.#running.push(this.#writer(pauseMs));
  }

  /** New clients one after the other, each with one question. */
  arrive(everyMs: number): void {
    this.#running.push(this.#arrivals(everyMs));
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
  }

  /** Acknowledged, and not there. */
  async missing(): Promise<number[]> {
    const client = await this.#site.connect(this.#made, { connectionTimeoutMillis: 60_000 });
    const { rows } = await client.query("SELECT n FROM load");
    await this.#site.end(client);
    const there = new Set((rows as { n: number }[]).map(({ n }) => n));
    return [...this.acknowledged].filter((n) => !there.has(n));
  }

  async #writer(pauseMs: number): Promise<void> {
    let client: pg.Client | null = null;
    while (!this.#isOver) {
      const n = this.#next++;
      try {
        client ??= await this.#site.connect(this.#made);
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
    if (client) await this.#site.end(client).catch(() => {});
  }

  async #arrivals(everyMs: number): Promise<void> {
    while (!this.#isOver) {
      const at = performance.now();
      try {
        const client = await this.#site.connect(this.#made);
        await client.query("SELECT count(*) FROM load");
        this.arrivals.push(performance.now() - at);
        await this.#site.end(client);
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
