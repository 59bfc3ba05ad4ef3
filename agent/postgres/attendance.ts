import { stat, truncate } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { KeeperGroup, WriterPlace } from "./keeper-group.ts";
import type { Postmaster } from "./postmaster.ts";

export type Attended = {
  postmaster: Postmaster;
  group: KeeperGroup;
  address: WriterPlace;
  logFile: string;
};

const LOOK_EVERY_MS = 2_000;
/** Statements of users that fail are in it, so its growth is theirs to bring about. */
const MOST_LOG_BYTES = 16 * 1024 * 1024;

/** Looks after one running writer until it ends or is to be left alone. */
export class Attendance {
  /** Resolves when the writer has ended by itself. Never after `stop`. */
  readonly ended: Promise<void>;
  readonly #stopping = new AbortController();
  readonly #attended: Attended;

  constructor(attended: Attended) {
    this.#attended = attended;
    const signal = this.#stopping.signal;
    this.ended = new Promise((resolve) => {
      void attended.postmaster.ended(signal).then(() => {
        if (signal.aborted) return;
        this.#stopping.abort();
        resolve();
      });
    });
    void this.#look();
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #look(): Promise<void> {
    const { signal } = this.#stopping;
    const wait = () => sleep(LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => {});
    for (await wait(); !signal.aborted; await wait()) await this.#lookOnce().catch(() => {});
  }

  async #lookOnce(): Promise<void> {
    const { postmaster, group, address, logFile } = this.#attended;
    // PostgreSQL appends to it, so it goes on at the new end.
    if ((await stat(logFile)).size > MOST_LOG_BYTES) await truncate(logFile, 0);
    const connection = await postmaster.connect("postgres");
    try {
      await group.tend(connection, address);
    } finally {
      connection.end();
    }
  }
}
