import { type DeploymentView, isTerminal } from "../contract/deployment.ts";
import type { LogLine } from "../contract/workload.ts";
import { eventStream, KEEP_ALIVE_MS, message, type Send } from "./event-stream.ts";
import { linesOf, type Source, unavailable } from "./log-source.ts";

/** Lines of several instances are put into order of time over this long, ms. */
const ORDERED_OVER_MS = 100;
/** With so many lines not sent yet, agents are not read any further until the reader of the stream has taken some. */
const WAITING_AT_MOST = 2_000;
/** How long after a host could not be asked it is asked again, ms. */
const ASKED_AGAIN_MS = 2_000;

export type Readable = { view: DeploymentView; sources: Source[] };
type From = { tail: number | null; since: number | null };
type World = { env: Env; next: (seq: number, waitMs: number) => Promise<Readable | null> };

export const byTime = (lines: LogLine[]): LogLine[] =>
  lines.sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));

/** A stream of the lines of the instances that are there, and of those that come, until the deployment is gone or has ended. */
export const followLogs = (first: Readable, from: From, world: World): Response =>
  eventStream((send, signal) => new FollowedLogs(world, send, signal).run(first, from));

class FollowedLogs {
  readonly #world: World;
  readonly #send: Send;
  readonly #signal: AbortSignal;
  readonly #open = new Map<string, Promise<void>>();
  /** Instances that were read to their end. */
  readonly #read = new Set<string>();
  /** Instances that cannot be read now; that is said once. */
  readonly #missing = new Set<string>();
  /** When the newest line of an instance was written: from there it goes on after its host was away. */
  readonly #newest = new Map<string, number>();
  #waiting: LogLine[] = [];
  #soon: Promise<void> | null = null;

  constructor(world: World, send: Send, signal: AbortSignal) {
    this.#world = world;
    this.#send = send;
    this.#signal = signal;
  }

  async run(first: Readable, from: From): Promise<void> {
    for (const source of first.sources) this.#start(source, from);
    let present: Readable | null = first;
    while (present && !this.#signal.aborted) {
      const { status, event_cursor } = present.view;
      if (isTerminal(status) || status === "deleted") {
        await Promise.race([Promise.all(this.#open.values()), pause(KEEP_ALIVE_MS)]);
        if (this.#open.size === 0) break;
      }
      present = await this.#world.next(event_cursor, this.#missing.size > 0 ? ASKED_AGAIN_MS : KEEP_ALIVE_MS);
      for (const source of present?.sources ?? []) this.#start(source, { tail: null, since: null });
    }
    await this.#flush();
    await this.#send(message('{"reason":"ended"}', { event: "end" }));
  }

  #start(source: Source, from: From): void {
    const id = source.instance_id;
    if (this.#open.has(id) || this.#read.has(id)) return;
    const newest = this.#newest.get(id);
    const reading = this.#follow(source, newest === undefined ? from : { tail: null, since: newest + 1 });
    this.#open.set(
      id,
      reading.finally(() => this.#open.delete(id)),
    );
  }

  async #follow(source: Source, from: From): Promise<void> {
    const id = source.instance_id;
    try {
      for await (const portion of linesOf(this.#world.env, source, { ...from, follow: true }, this.#signal)) {
        this.#missing.delete(id);
        const last = portion.at(-1);
        if (last) this.#newest.set(id, Date.parse(last.timestamp));
        const sent = this.#push(portion);
        if (this.#waiting.length >= WAITING_AT_MOST) await sent;
      }
      this.#missing.delete(id);
      this.#read.add(id);
    } catch (error) {
      if (!this.#missing.has(id)) void this.#push([unavailable(source, error)]);
      this.#missing.add(id);
    }
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
