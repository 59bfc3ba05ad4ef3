import type { IncomingMessage, ServerResponse } from "node:http";
import type { Dispatcher } from "undici";
import type { Target } from "./target.ts";

/** So much of an answer is kept for a caller that takes it slowly, so that the engine is free again; then the engine waits. */
const KEPT_BYTES = 1024 ** 2;
/** A caller that takes nothing for so long is cut off, ms. */
const STALLED_MS = 20_000;

const ONE_WRITE_BYTES = 16 * 1024;

/** What concerns one connection only (RFC 9110, 7.6.1), and what is made anew. */
const OF_ONE_HOP = new Set([
  ...["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"],
  ...["transfer-encoding", "upgrade", "expect", "content-length", "host"],
]);

/** `answered`: the caller has got what there was, or has gone. `failed`: not one byte came; `sent` is false when the engine cannot have seen it. */
export type Outcome = { type: "answered" } | { type: "failed"; sent: boolean };

/** Asks an engine what a caller has asked, once. @param isFresh on a connection of its own */
export function exchange(
  target: Target,
  request: IncomingMessage,
  { path, body, isFresh }: { path: string; body: Buffer | null; isFresh: boolean },
  response: ServerResponse,
): Promise<Outcome> {
  target.enter();
  return new Promise<Outcome>((resolve) => {
    let sent = false;
    let controller: Dispatcher.DispatchController | null = null;
    let stalled: NodeJS.Timeout | undefined;
    /** Of an answer of which nothing was handed on: its head, and its body, when that came in one piece. */
    let head: { status: number; headers: Headers } | null = null;
    let whole: Buffer | null = null;
    const begin = () => {
      if (head !== null) response.writeHead(head.status, headersFrom(head.headers));
      head = null;
    };
    const hungUp = () => controller?.abort(new Error("the caller has gone"));
    const over = (outcome: Outcome) => {
      clearTimeout(stalled);
      response.off("close", hungUp);
      if (isFresh) void connection.destroy().catch(() => undefined);
      resolve(outcome);
    };
    const flow = () => {
      clearTimeout(stalled);
      controller?.resume();
    };
    response.once("close", hungUp);
    const connection = isFresh ? target.fresh() : target.pool;
    connection.dispatch(
      { path, method: request.method as Dispatcher.HttpMethod, headers: headersTo(request), body },
      {
        onRequestStart(one) {
          controller = one;
          sent = true;
          if (response.destroyed) hungUp();
        },
        onResponseStart(_one, status, headers) {
          if (status < 200) return;
          head = { status, headers };
        },
        onResponseData(one, chunk) {
          if (head !== null && Number(head.headers["content-length"]) === chunk.length) {
            whole = chunk;
            return;
          }
          begin();
          response.write(chunk);
          if (response.writableLength <= KEPT_BYTES || one.paused) return;
          one.pause();
          stalled = setTimeout(() => response.destroy(), STALLED_MS);
          response.once("drain", flow);
        },
        onResponseEnd() {
          begin();
          // As one text head and body are one write.
          if (whole === null) response.end();
          else if (whole.length <= ONE_WRITE_BYTES) response.end(whole.toString("latin1"), "latin1");
          else response.end(whole);
          over({ type: "answered" });
        },
        onResponseError() {
          if (head === null && !response.headersSent && !response.destroyed) return over({ type: "failed", sent });
          // What was begun cannot be mended: the caller sees that it is not whole.
          response.destroy();
          over({ type: "answered" });
        },
      },
    );
  }).finally(() => target.leave());
}

function headersTo({ rawHeaders, headers }: IncomingMessage): string[] {
  const named = ofThisHop(headers.connection);
  const kept: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (!OF_ONE_HOP.has(name) && !named.includes(name)) kept.push(name, rawHeaders[i + 1] as string);
  }
  return kept;
}

/** What a caller says to be of its connection alone. */
const ofThisHop = (connection: string | undefined): string[] =>
  connection === undefined || connection === "keep-alive"
    ? []
    : connection.split(",").map((name) => name.trim().toLowerCase());

type Headers = Record<string, string | string[] | undefined>;

/** Names and values in turn. */
function headersFrom(headers: Headers): string[] {
  const kept: string[] = [];
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || (name !== "content-length" && OF_ONE_HOP.has(name))) continue;
    if (typeof value === "string") kept.push(name, value);
    else for (const one of value) kept.push(name, one);
  }
  return kept;
}
