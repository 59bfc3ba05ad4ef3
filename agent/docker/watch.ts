import type { Engine } from "./engine.ts";
import { LABEL } from "./naming.ts";
import { JsonLines } from "./progress.ts";
import { type EngineEvent, engineEvent } from "./sighting.ts";

const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 5_000;
/** How far before a connection events are asked for: the engine answers before it has subscribed, and clocks differ a little. */
const OVERLAP_S = 2;
/**
 * How often everything is compared with what Podman lists, ms: its stream follows a file, and on a busy host it loses events now and then.
 * Docker hands events over in memory, and loses none.
 */
const PODMAN_COMPARE_MS = 5_000;
/** How many events are remembered to know one that is told again. */
const REMEMBERED = 4096;

export type WatchOptions = {
  hostId: string;
  runtime: "docker" | "podman";
  /** The engine to watch now; asked before every connection. Null when none answers. */
  engine: () => Promise<Engine | null>;
  event: (event: EngineEvent) => void;
  /** Compares with what is there: after each connection, for what happened in between may have left no event behind, and on Podman now and then. */
  compare: () => Promise<void>;
  log: (line: string) => void;
};

/**
 * The engine's events of our containers, each told once. After a cut it goes on from the last event that was seen (engines keep some hundreds)
 * and then has everything compared, so that nothing is missed even when the engine itself was restarted.
 */
export class Watch {
  readonly #options: WatchOptions;
  readonly #seen = new Set<string>();
  readonly #closed = new AbortController();
  #since: string = seconds(Date.now());
  #stream: { destroy: () => void } | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Resolves when connected for the first time and compared; rejects when the engine cannot be watched now. */
  async start(): Promise<void> {
    const stream = await this.#connect();
    const reading = this.#read(stream);
    try {
      await this.#options.compare();
    } catch (error) {
      this.close();
      throw error;
    }
    void this.#keep(reading);
    if (this.#options.runtime === "podman") void this.#compareNowAndThen();
  }

  async #compareNowAndThen(): Promise<void> {
    const { signal } = this.#closed;
    for (;;) {
      await pause(PODMAN_COMPARE_MS, signal);
      if (signal.aborted) return;
      // When the engine does not answer, the stream is cut as well, and everything is compared after that.
      await this.#options.compare().catch(() => undefined);
    }
  }

  close(): void {
    this.#closed.abort();
    this.#stream?.destroy();
  }

  async #connect(): Promise<NodeJS.ReadableStream> {
    const engine = await this.#options.engine();
    if (engine === null) throw new Error("no container engine answers");
    const { hostId } = this.#options;
    const connecting = seconds(Date.now());
    // Text, for its nanoseconds; the type knows only whole seconds.
    const since = this.#since as unknown as number;
    const stream = await engine.call(
      "events",
      (docker) => docker.getEvents({ since, filters: { type: ["container"], label: [`${LABEL.host}=${hostId}`] } }),
      10_000,
    );
    // Without an event of our own to resume from, the moment before this connection is where the next one has to begin.
    if (this.#seen.size === 0) this.#since = connecting;
    this.#stream = stream as unknown as { destroy: () => void };
    return stream;
  }

  async #read(stream: NodeJS.ReadableStream): Promise<void> {
    const lines = new JsonLines<unknown>();
    try {
      for await (const chunk of stream) {
        for (const { value, text } of lines.take(chunk as Buffer)) this.#take(value, text);
      }
    } catch {
      // A cut ends a stream with an error or without: both are followed by a new connection.
    }
  }

  #take(value: unknown, text: string): void {
    const event = engineEvent(value, text, this.#options.hostId, this.#options.runtime);
    if (event === null || this.#closed.signal.aborted || this.#seen.has(event.key)) return;
    this.#seen.add(event.key);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value as string);
    this.#since = event.stamp;
    this.#options.event(event);
  }

  async #keep(first: Promise<void>): Promise<void> {
    let reading = first;
    const { signal } = this.#closed;
    for (;;) {
      await reading;
      if (signal.aborted) return;
      this.#options.log("the engine's event stream was cut, connecting again");
      for (let delay = FIRST_DELAY_MS; ; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
        await pause(delay * (0.5 + Math.random()), signal);
        if (signal.aborted) return;
        try {
          reading = this.#read(await this.#connect());
          await this.#options.compare();
          break;
        } catch (error) {
          this.#stream?.destroy();
          if (delay === LONGEST_DELAY_MS)
            this.#options.log(`the engine cannot be watched: ${(error as Error).message}`);
        }
      }
      if (signal.aborted) this.#stream?.destroy();
    }
  }
}

const seconds = (ms: number): string => String(Math.floor(ms / 1000) - OVERLAP_S);

/** Ends early, and quietly, when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
