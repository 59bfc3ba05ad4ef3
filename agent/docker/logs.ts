import type { LogQuery } from "../../contract/frame.ts";
import type { LogLine } from "../../contract/workload.ts";
import { levelOf } from "../level.ts";
import { type Engine, engineError } from "./engine.ts";
import { Demultiplexer, LineAssembler, type StampedLine } from "./output.ts";
import type { Instance } from "./roster.ts";
import type { Tracker } from "./tracker.ts";
import { pause } from "./watch.ts";

const BATCH = 500;
const RESUME_MS = 250;
/** Docker keeps a long line in pieces of 16 KiB, and counts pieces: so many more are asked for than lines are wanted. */
const MORE_PIECES = 64;

/**
 * The engine's log of one instance. A following reader outlives a cut of the connection: it goes on from the last line's timestamp and leaves out
 * what it has already given. It ends when the container is removed, not when the program ends. Throws when the instance is not there.
 */
export async function* readLogs(
  { engine, tracker, runtime }: { engine: () => Engine; tracker: Tracker; runtime: "docker" | "podman" },
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<LogLine[]> {
  const instance = tracker.roster.instance(query.workload_id, query.generation);
  if (!instance) throw new Error(`${query.workload_id} generation ${query.generation} is not on this host`);
  const over = AbortSignal.any([signal, instance.gone.signal]);
  const place = new Place();
  let isTailDue = query.tail !== null;
  for (let round = 0; !over.aborted; round++) {
    if (round > 0) await pause(RESUME_MS, over);
    try {
      if (isTailDue) {
        const last = await tail(engine(), instance, query, runtime, place, over);
        isTailDue = false;
        yield* batches(instance, last);
      }
      if (query.tail !== null && !query.follow) return;
      // What is known when the stream is opened: an engine ends it when the program has ended, so then there is nothing more to come.
      const ended = instance.state === "exited";
      const since = place.resume() ?? sinceOf(query);
      const isWhole = !query.follow || ended;
      for await (const lines of attend(
        engine(),
        instance.containerId,
        { follow: query.follow, since },
        isWhole,
        place,
        over,
      )) {
        yield* batches(instance, query.follow ? lines.filter((line) => place.isNew(line)) : lines);
        if (signal.aborted) return;
      }
      if (!query.follow) return;
      if (ended) return await untilAborted(over);
    } catch (error) {
      const failed = engineError(error);
      if (failed.status === 404 || over.aborted) return;
      if (failed.status !== null || !query.follow)
        throw new Error(`the logs of ${instance.name} cannot be read: ${failed.message}`);
    }
  }
}

function* batches(instance: Instance, lines: StampedLine[]): Generator<LogLine[]> {
  for (let at = 0; at < lines.length; at += BATCH) {
    yield lines.slice(at, at + BATCH).map((line) => logLine(instance, line));
  }
}

const sinceOf = (query: LogQuery): string | null => (query.since === null ? null : (query.since / 1000).toFixed(3));

/**
 * The last whole lines there are now; a reader who follows goes on after them, so it leaves a line that has only begun for later. Podman (4.3)
 * puts the pieces of a line together in the wrong order when it is asked for a tail, so there everything is read.
 */
async function tail(
  engine: Engine,
  instance: Instance,
  query: LogQuery,
  runtime: "docker" | "podman",
  place: Place,
  over: AbortSignal,
): Promise<StampedLine[]> {
  const wanted = query.tail ?? 0;
  if (wanted === 0 && !query.follow) return [];
  const pieces = runtime === "docker" && { tail: wanted + MORE_PIECES };
  const options = { follow: false, since: sinceOf(query), ...pieces };
  const kept: StampedLine[] = [];
  for await (const lines of attend(engine, instance.containerId, options, !query.follow, place, over)) {
    if (query.follow) for (const line of lines) place.isNew(line);
    kept.push(...lines);
    if (kept.length > 2 * wanted + BATCH) kept.splice(0, kept.length - wanted);
  }
  return wanted === 0 ? [] : kept.slice(-wanted);
}

/** The first lines of a container's log, and not many more are read to know them. */
export async function firstLines(engine: Engine, containerId: string, most: number): Promise<StampedLine[]> {
  const first: StampedLine[] = [];
  const options = { follow: false, since: null };
  for await (const lines of attend(engine, containerId, options, true, new Place(), new AbortController().signal)) {
    first.push(...lines);
    if (first.length >= most) break;
  }
  return first.slice(0, most);
}

/** The lines of one connection. With `isWhole`, what has no end of line at its end is a line too. */
async function* attend(
  engine: Engine,
  containerId: string,
  { follow, since, tail }: { follow: boolean; since: string | null; tail?: number },
  isWhole: boolean,
  place: Place,
  over: AbortSignal,
): AsyncGenerator<StampedLine[]> {
  const options = {
    follow,
    stdout: true,
    stderr: true,
    timestamps: true,
    ...(since !== null && { since }),
    ...(tail !== undefined && { tail }),
  };
  const stream = await engine.call("logs", () => openLogs(engine, containerId, options));
  const destroy = (): void => void stream.destroy();
  over.addEventListener("abort", destroy, { once: true });
  if (over.aborted) destroy();
  const demultiplexer = new Demultiplexer();
  const assembler = new LineAssembler();
  try {
    for await (const chunk of stream) {
      const lines = demultiplexer.take(chunk as Buffer).flatMap((frame) => assembler.take(frame));
      place.begun = assembler.openStamp;
      if (lines.length > 0) yield lines;
    }
    const last = isWhole ? assembler.flush() : [];
    if (last.length > 0) yield last;
  } finally {
    over.removeEventListener("abort", destroy);
    destroy();
  }
}

/** dockerode's own call gives a stream only when it follows, and else holds the whole log in memory. */
function openLogs(
  engine: Engine,
  containerId: string,
  options: object,
): Promise<NodeJS.ReadableStream & { destroy: () => void }> {
  return new Promise((resolve, reject) => {
    const request = {
      path: `/containers/${containerId}/logs?`,
      method: "GET",
      isStream: true,
      statusCodes: { 200: true, 404: "no such container", 500: "server error" },
      options,
    };
    engine.docker.modem.dial(request as never, (error: unknown, stream: unknown) => {
      if (error) reject(error as Error);
      else resolve(stream as NodeJS.ReadableStream & { destroy: () => void });
    });
  });
}

/** Knows which lines were given, for a reader that resumes: those of the latest timestamps, because Podman's count only seconds. */
class Place {
  static readonly #STAMPS = 256;
  readonly #given = new Map<string, Map<string, number>>();
  #again = new Map<string, number>();
  #last: string | null = null;
  /** The timestamp of the first piece of a line that has not ended: a reader that resumes needs all of its pieces. */
  begun: string | null = null;

  /** Where to go on, in the engine's form; from here on, lines that were given before are not new. Null when none was given. */
  resume(): string | null {
    this.#again = new Map();
    for (const counts of this.#given.values()) {
      for (const [key, count] of counts) this.#again.set(key, (this.#again.get(key) ?? 0) + count);
    }
    const [from] = [this.#last, this.begun].filter((it) => it !== null).sort();
    return from === undefined ? null : stampSeconds(from);
  }

  isNew(line: StampedLine): boolean {
    const key = `${line.stamp} ${line.stream} ${line.message.length} ${line.message.slice(0, 64)}`;
    const again = this.#again.get(key) ?? 0;
    if (again > 0) {
      this.#again.set(key, again - 1);
      return false;
    }
    let counts = this.#given.get(line.stamp);
    if (!counts) {
      counts = new Map();
      this.#given.set(line.stamp, counts);
      if (this.#given.size > Place.#STAMPS) this.#given.delete(this.#given.keys().next().value as string);
    }
    counts.set(key, (counts.get(key) ?? 0) + 1);
    this.#last = line.stamp;
    return true;
  }
}

/** An RFC 3339 time as seconds, with the nanoseconds that a Date has no room for. */
export function stampSeconds(stamp: string): string {
  const fraction = /\.(\d+)/.exec(stamp)?.[1] ?? "";
  return `${Math.floor(Date.parse(stamp) / 1000)}.${fraction.padEnd(9, "0").slice(0, 9)}`;
}

function logLine(instance: Instance, { stream, stamp, message }: StampedLine): LogLine {
  const timestamp = stamp.endsWith("Z") ? stamp : new Date(stamp === "" ? Date.now() : stamp).toISOString();
  return { instance: instance.name, stream, message, level: levelOf(message), timestamp };
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
