import { stat, statfs, truncate } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Note } from "../../contract/workload.ts";
import type { KeeperGroup, Seen, WriterPlace } from "./keeper-group.ts";
import type { Postmaster } from "./postmaster.ts";

export type Attended = {
  postmaster: Postmaster;
  group: KeeperGroup;
  address: WriterPlace;
  logFile: string;
  /** Told what is wrong with the writer, or that nothing is any more. */
  noted: (notes: Note[]) => void;
  /** Told since when, ms since 1970, the database can be restored to any moment. */
  restorable: (since: number) => void;
};

const LOOK_EVERY_MS = 2_000;
/** Base backups come and go by the hour at most. */
const LOOK_BACK_EVERY_MS = 60_000;
/** Statements of users that fail are in it, so its growth is theirs to bring about. */
const MOST_LOG_BYTES = 16 * 1024 * 1024;
/** With less room than for a few segments of its log a writer is about to stop. */
const ROOM_LEAST_BYTES = 64 * 1024 * 1024;

/** Looks after one running writer until it ends or is to be left alone. */
export class Attendance {
  /** Resolves when the writer has ended by itself. Never after `stop`. */
  readonly ended: Promise<void>;
  readonly #stopping = new AbortController();
  readonly #attended: Attended;
  #before: Note[] = [];
  #told: string | null = null;
  #lookBackAt = 0;

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
    for (await wait(); !signal.aborted; await wait()) {
      const notes = await this.#lookOnce().catch(() => null);
      if (notes !== null && !signal.aborted) this.#tell(notes);
      if (!signal.aborted) await this.#lookBack().catch(() => {});
    }
  }

  async #lookBack(): Promise<void> {
    if (performance.now() < this.#lookBackAt) return;
    const since = await this.#attended.group.restorableSince();
    // A database that was just restored has no base backup of its own yet.
    if (since === null) return;
    this.#lookBackAt = performance.now() + LOOK_BACK_EVERY_MS;
    if (!this.#stopping.signal.aborted) this.#attended.restorable(since);
  }

  /** What is seen once only is no news: keepers come and go as the writer starts. */
  #tell(notes: Seen[]): void {
    const before = this.#before;
    const isLasting = (seen: Seen) => seen.isLasting ?? before.some(({ code }) => code === seen.code);
    const lasting: Note[] = notes.filter(isLasting).map(({ code, message }) => ({ code, message }));
    this.#before = notes;
    const text = JSON.stringify(lasting);
    if (this.#told === text) return;
    this.#told = text;
    this.#attended.noted(lasting);
  }

  async #lookOnce(): Promise<Seen[]> {
    const { postmaster, group, address, logFile } = this.#attended;
    // PostgreSQL appends to it, so it goes on at the new end.
    if ((await stat(logFile)).size > MOST_LOG_BYTES) await truncate(logFile, 0);
    const cramped = await roomAt(postmaster.place.pgdata);
    const connection = await postmaster.connect("postgres");
    try {
      return [...cramped, ...(await group.tend(connection, address))];
    } finally {
      connection.end();
    }
  }
}

async function roomAt(folder: string): Promise<Note[]> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= ROOM_LEAST_BYTES) return [];
  // To the next 16 MiB: it changes all the time.
  const left = Math.ceil((bavail * bsize) / 1024 ** 2 / 16) * 16;
  return [{ code: "disk_full", message: `the disk of its host is full, or nearly: at most ${left} MiB are left` }];
}
