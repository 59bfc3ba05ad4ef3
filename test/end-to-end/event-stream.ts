import { setTimeout as sleep } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import type { JournalEvent } from "../../contract/event.ts";
import type { Cluster } from "./cluster.ts";

/** A reader of a journal's stream that goes on where it was whenever the stream breaks, as a browser's EventSource does. */
export class EventStream {
  readonly events: JournalEvent[] = [];
  /** How often a stream was begun. */
  connections = 0;
  readonly #cluster: Cluster;
  readonly #path: string;
  readonly #onEvent: (event: JournalEvent) => void;
  readonly #closing = new AbortController();
  readonly #reading: Promise<void>;

  constructor(cluster: Cluster, path: string, onEvent: (event: JournalEvent) => void = () => {}) {
    this.#cluster = cluster;
    this.#path = path;
    this.#onEvent = onEvent;
    this.#reading = this.#read();
  }

  get statuses(): string[] {
    return this.events.flatMap(({ new_status }) => new_status ?? []);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const { signal } = this.#closing;
    let last = "";
    const parser = createParser({
      onEvent: ({ id, event, data }) => {
        if (event !== undefined) return;
        last = id ?? last;
        const parsed = JSON.parse(data) as JournalEvent;
        this.events.push(parsed);
        this.#onEvent(parsed);
      },
    });
    while (!signal.aborted) {
      try {
        const response = await fetch(`${this.#cluster.url}${this.#path}`, {
          headers: {
            accept: "text/event-stream",
            authorization: `Bearer ${this.#cluster.token}`,
            ...(last === "" ? {} : { "last-event-id": last }),
          },
          signal,
        });
        if (!response.ok) {
          await response.body?.cancel();
          if (response.status === 404) return;
          throw new Error(`the stream answered ${response.status}`);
        }
        this.connections++;
        const decoder = new TextDecoder();
        for await (const chunk of response.body as AsyncIterable<Uint8Array>)
          parser.feed(decoder.decode(chunk, { stream: true }));
      } catch {
        // It broke in the middle of a message, whose rest will not come.
      }
      parser.reset();
      await sleep(20, undefined, { signal }).catch(() => undefined);
    }
  }
}
