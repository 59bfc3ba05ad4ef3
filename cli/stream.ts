import { setTimeout as sleep } from "node:timers/promises";
import { EventSourceParserStream } from "eventsource-parser/stream";
import type { Api, Query } from "./api.ts";
import { Interrupted, Refused } from "./failure.ts";

export type StreamEvent = { id: string | undefined; event: string | undefined; data: string };

type Follow = {
  query?: Query;
  /** Where to go on after a cut, from what has been received last; null: from the start. */
  resume: (last: StreamEvent | null) => { query?: Query; lastEventId?: string };
  /** Whether an orderly end of the stream is the end, or only a pause. */
  endless: boolean;
  signal: AbortSignal;
};

/** A server-sent event stream that outlives cuts: it is opened again where it stopped, until the resource is gone. */
export async function* follow(
  api: Api,
  path: string,
  { query = {}, resume, endless, signal }: Follow,
): AsyncGenerator<StreamEvent> {
  let last: StreamEvent | null = null;
  for (let failures = 0; !signal.aborted; failures++) {
    const point = resume(last);
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (point.lastEventId !== undefined) headers["last-event-id"] = point.lastEventId;
    try {
      const response = await api.open(path, { query: { ...query, ...point.query }, headers, signal });
      for await (const event of events(response)) {
        failures = 0;
        last = event;
        yield event;
      }
      if (!endless) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Interrupted) throw error;
      if (error instanceof Refused && error.problem.status < 500) {
        if (last !== null && error.problem.status === 404) return;
        throw error;
      }
      if (last === null && failures >= 4) throw error;
    }
    await sleep(Math.min(250 * 2 ** failures, 5000), undefined, { signal }).catch(() => undefined);
  }
}

async function* events(response: Response): AsyncGenerator<StreamEvent> {
  if (response.body === null) return;
  const stream = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const { id, event, data } of stream) yield { id, event, data };
}
