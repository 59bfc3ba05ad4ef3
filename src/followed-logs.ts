import type { LogLine } from "../contract/workload.ts";
import { eventStream, KEEP_ALIVE_MS, message, type Send } from "./event-stream.ts";
import { linesOf, type Source, unavailable } from "./log-source.ts";

/** Lines of several instances are put into order of time over this long, ms. */
const ORDERED_OVER_MS = 100;
/** With so many lines not sent yet, agents are not read any further until the reader of the stream has taken some. */
const WAITING_AT_MOST = 2_000;
/** How long after a workload could not be read, or had nothing more to read, it is asked for again, ms. */
const ASKED_AGAIN_MS = 2_000;

/** What can be read of something now. `over`: no more will come; `cursor`: up to where its journal was seen. */
export type Readable = { over: boolean; cursor: number; sources: Source[] };
type From = { tail: number | null; since: number | null };
type World = {
  env: Env;
  /** Whether a line of this instance is wanted. */
  wants: (instance: string) => boolean;
  /** What there is after the next change, or after a while; null when what is followed is gone. */
  next: (seq: number, waitMs: number) => Promise<Readable | null>;
};
/** `ended`: it came to its end, or its host could not be asked. */
type Reader = { generation: number; stop: AbortController; ended: boolean };
/** Up to where a workload was read: the time of its newest line, and how many of its lines are of that time. */
type Place = { at: number; count: number };

export const byTime = (lines: LogLine[]): LogLine[] =>
  lines.sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));

/** A stream of the lines of the instances that are there, and of those that come, until what they are of is gone or over. */
export const followLogs = (first: Readable, from: From, world: World): Response =>
  eventStream((send, signal) => new FollowedLogs(from, world, send, signal).run(first));

/**
 * An agent tells the lines of a workload over its generations, and goes on for ever. So there is one reader per workload; with a new
 * generation it starts anew from the place where the one before stood, and when all is over the rest is read once.
 */
class FollowedLogs {
  readonly #from: From;
  readonly #world: World;
  readonly #send: Send;
  readonly #signal: AbortSignal;
  readonly #readers = new Map<string, Reader>();
  readonly #places = new Map<string, Place>();
  /** Workloads that cannot be read now; that is said once. */
  readonly #missing = new Set<string>();
  #waiting: LogLine[] = [];
  #soon: Promise<void> | null = null;

  constructor(from: From, world: World, send: Send, signal: AbortSignal) {
    this.#from = from;
    this.#world = world;
    this.#send = send;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#stopAll());
  }

  async run(first: Readable): Promise<void> {
    let present: Readable | null = first;
    while (present && !this.#signal.aborted) {
      if (present.over) {
        this.#stopAll();
        await Promise.all(present.sources.map((source) => this.#read(source, false, this.#signal)));
        break;
      }
      for (const source of present.sources) this.#follow(source);
      present = await this.#world.next(present.cursor, KEEP_ALIVE_MS);
    }
    this.#stopAll();
    await this.#flush();
    await this.#send(message('{"reason":"ended"}', { event: "end" }));
  }

  #stopAll(): void {
    for (const { stop } of this.#readers.values()) stop.abort();
    this.#readers.clear();
  }

  #follow(source: Source): void {
    const { workload_id: id, generation } = source;
    const present = this.#readers.get(id);
    if (present?.generation === generation && !present.ended) return;
    present?.stop.abort();
    const reader: Reader = { generation, stop: new AbortController(), ended: false };
    this.#readers.set(id, reader);
    // What has not been started yet has no lines, and so comes to an end at once: it is asked for again.
    void this.#read(source, true, reader.stop.signal).then(async () => {
      reader.ended = true;
      await pause(ASKED_AGAIN_MS);
      if (this.#readers.get(id) === reader) this.#follow(source);
    });
  }

  /** Reads a workload from its place on, to the end or until it is told to stop. */
  async #read(source: Source, follow: boolean, signal: AbortSignal): Promise<void> {
    const id = source.workload_id;
    const place = this.#places.get(id);
    const from = place ? { tail: null, since: place.at } : this.#from;
    let known = place?.count ?? 0;
    try {
      for await (const portion of linesOf(this.#world.env, source, { ...from, follow }, signal)) {
        if (signal.aborted) return;
        this.#missing.delete(id);
        const news = portion.filter((line) => {
          const at = Date.parse(line.timestamp);
          if (place && at < place.at) return false;
          if (place && at === place.at && known > 0) {
            known--;
            return false;
          }
          this.#advance(id, at);
          return this.#world.wants(line.instance);
        });
        const sent = this.#push(news);
        if (this.#waiting.length >= WAITING_AT_MOST) await sent;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!this.#missing.has(id)) void this.#push([unavailable(source, error)]);
      this.#missing.add(id);
    }
  }

  #advance(id: string, at: number): void {
    const place = this.#places.get(id);
    if (place === undefined || at > place.at) this.#places.set(id, { at, count: 1 });
    else if (at === place.at) this.#places.set(id, { at, count: place.count + 1 });
  }

  /** Puts lines among those that wait to be sent. Resolves when they were sent, or the reader has gone. */
  #push(lines: readonly LogLine[]): Promise<void> {
    for (const line of lines) this.#waiting.push(line);
    this.#soon ??= pause(ORDERED_OVER_MS)
      .then(() => this.#flush())
      .catch(() => undefined)
      .finally(() => {
        this.#soon = null;
      });
    return this.#soon;
  }

  async #flush(): Promise<void> {
    const lines = byTime(this.#waiting);
    this.#waiting = [];
    if (lines.length > 0) await this.#send(lines.map((line) => message(JSON.stringify(line))).join(""));
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
