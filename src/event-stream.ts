import type { Reply } from "../contract/problem.ts";
import { unwrap } from "./problem.ts";

export const KEEP_ALIVE_MS = 15_000;

const encoder = new TextEncoder();

/** Sends one part of a stream; resolves when the reader has room for more, rejects when it has gone. */
export type Send = (text: string) => Promise<void>;

/**
 * A `text/event-stream`: `produce` writes until it is done or the reader goes. A comment is sent when there was nothing for a while, so that
 * no proxy takes the stream for dead.
 */
export function eventStream(produce: (send: Send, signal: AbortSignal) => Promise<void>): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const gone = new AbortController();
  let quiet = false;
  const send: Send = async (text) => {
    quiet = false;
    await writer.write(encoder.encode(text));
  };
  const keepAlive = setInterval(() => {
    if (quiet) writer.write(encoder.encode(": keep-alive\n\n")).catch(() => gone.abort());
    quiet = true;
  }, KEEP_ALIVE_MS);
  writer.closed.catch(() => gone.abort());
  send("retry: 1000\n\n")
    .then(() => produce(send, gone.signal))
    .then(
      () => writer.close(),
      (error: unknown) => writer.abort(error),
    )
    .catch(() => undefined)
    .finally(() => {
      clearInterval(keepAlive);
      gone.abort();
    });
  return new Response(readable, {
    headers: {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-accel-buffering": "no",
    },
  });
}

export const wantsStream = (request: Request): boolean =>
  /\btext\/event-stream\b/i.test(request.headers.get("accept") ?? "");

/** One message of a stream. The data is JSON, so it has no line breaks. */
export const message = (data: string, fields: { id?: number; event?: string } = {}): string =>
  `${fields.event === undefined ? "" : `event: ${fields.event}\n`}${fields.id === undefined ? "" : `id: ${fields.id}\n`}data: ${data}\n\n`;

type Journal = { seq: number; body: string }[];

/**
 * An object's journal as a stream, from `after` on. Whether the object is there is known before the stream begins; when it goes later, the
 * stream says `end`.
 */
export async function journalStream(
  after: number,
  level: string | undefined,
  follow: (after: number, waitMs: number) => Promise<Reply<Journal>>,
): Promise<Response> {
  let next = unwrap(await follow(after, 0));
  let seq = after;
  return eventStream(async (send, signal) => {
    while (!signal.aborted) {
      const wanted =
        level === undefined ? next : next.filter(({ body }) => (JSON.parse(body) as { level: string }).level === level);
      if (wanted.length > 0) await send(wanted.map((event) => message(event.body, { id: event.seq })).join(""));
      seq = next.at(-1)?.seq ?? seq;
      const reply = await follow(seq, KEEP_ALIVE_MS);
      if (!reply.ok) return send(message('{"reason":"gone"}', { event: "end" }));
      next = reply.value;
    }
  });
}

/** Where a stream starts: `Last-Event-ID` of a reader that comes back, else `after`, else the beginning. */
export function startOf(request: Request, after: number | undefined): number {
  const last = request.headers.get("last-event-id");
  return last !== null && /^\d{1,15}$/.test(last) ? Number(last) : (after ?? 0);
}
