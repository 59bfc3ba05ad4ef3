import type { IncomingMessage, ServerResponse } from "node:http";
import type { Dispatcher } from "undici";
import type { Target } from "./target.ts";

/** So much of an answer is kept for a caller that takes it slowly, so that the engine is free again; then the engine waits. */
const KEPT_BYTES = 1024 ** 2;
/** A caller that takes nothing for so long is cut off, ms. */
const STALLED_MS = 20_000;

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
          response.writeHead(status, headersFrom(headers));
        },
        onResponseData(one, chunk) {
          response.write(chunk);
          if (response.writableLength <= KEPT_BYTES || one.paused) return;
          one.pause();
          stalled = setTimeout(() => response.destroy(), STALLED_MS);
          response.once("drain", flow);
        },
        onResponseEnd() {
          response.end();
          over({ type: "answered" });
        },
        onResponseError() {
          if (!response.headersSent && !response.destroyed) return over({ type: "failed", sent });
          // What was begun cannot be mended: the caller sees that it is not whole.
          response.destroy();
          over({ type: "answered" });
        },
      },
    );
  }).finally(() => target.leave());
}

function headersTo({ rawHeaders, headers }: IncomingMessage): string[] {
  const named = new Set((headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase()));
  const kept: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (!OF_ONE_HOP.has(name) && !named.has(name)) kept.push(name, rawHeaders[i + 1] as string);
  }
  return kept;
}

type Headers = Record<string, string | string[] | undefined>;

function headersFrom(headers: Headers): Headers {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name === "content-length" || !OF_ONE_HOP.has(name)),
  );
}
