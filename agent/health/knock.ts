import { lookup as lookUp } from "node:dns";
import { type ClientRequest, request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect, type LookupFunction } from "node:net";
import type { Outcome } from "./decide.ts";
import { LOCAL, type Place, placeText } from "./place.ts";

/** How much of an answer's body is let in before the connection is closed: enough for the server to have written a short one. */
const BODY_MOST = 10 * 1024;
const BODY_MS = 500;

/** The loopback needs no resolver, which has few threads and may be slow; both versions of IP are tried, as a program may listen on one only. */
const resolve: LookupFunction = (hostname, options, callback) => {
  if (hostname !== LOCAL) return lookUp(hostname, options, callback);
  const all = [
    { address: "127.0.0.1", family: 4 },
    { address: "::1", family: 6 },
  ];
  if (options.all) process.nextTick(callback, null, all);
  else process.nextTick(callback, null, "127.0.0.1", 4);
};

/** A port answers when a connection to it is made. */
export function knockTcp(place: Place, timeoutMs: number, signal: AbortSignal): Promise<Outcome> {
  return new Promise((done) => {
    const socket = connect({ ...place, lookup: resolve, autoSelectFamily: true });
    const finish = concluding(done, timeoutMs, signal, () => socket.destroy(), place);
    socket.once("connect", () => finish({ status: "success", message: `${placeText(place)} accepts connections` }));
    socket.on("error", (error) => finish(failure(error, place)));
  });
}

/** A URL answers well with 2xx. Redirects are not followed, and the body does not matter. */
export function knockHttp(
  url: URL,
  place: Place,
  isOurs: boolean,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Outcome> {
  return new Promise((done) => {
    const secure = url.protocol === "https:";
    const options: RequestOptions & { rejectUnauthorized?: boolean; autoSelectFamily?: boolean } = {
      method: "GET",
      host: place.host,
      port: place.port,
      path: url.pathname + url.search,
      headers: { Host: url.host, "User-Agent": "lamplighter-agent", Connection: "close" },
      ...(url.username === ""
        ? {}
        : { auth: `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` }),
      agent: false,
      lookup: resolve,
      autoSelectFamily: true,
      // An instance that is asked at its own address seldom has a certificate for it.
      ...(secure && isOurs ? { rejectUnauthorized: false } : {}),
    };
    let request: ClientRequest | null = null;
    const finish = concluding(done, timeoutMs, signal, () => request?.destroy(), place);
    try {
      request = (secure ? httpsRequest : httpRequest)(options);
    } catch (error) {
      return finish({ status: "failed", message: (error as Error).message });
    }
    const asked = request;
    asked.on("error", (error) => finish(failure(error, place)));
    asked.on("response", (response) => {
      const status = response.statusCode ?? 0;
      const isWell = status >= 200 && status < 300;
      const message = `GET ${placeText(place)}${url.pathname} answered ${status}`;
      let size = 0;
      const rest = setTimeout(() => asked.destroy(), BODY_MS);
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > BODY_MOST) asked.destroy();
      });
      response.on("error", () => {});
      response.on("close", () => clearTimeout(rest));
      finish({ status: isWell ? "success" : "failed", message }, false);
    });
    asked.end();
  });
}

/** Takes the first outcome, and lets go of everything then; an abort leaves the outcome to nobody. */
function concluding(
  done: (outcome: Outcome) => void,
  timeoutMs: number,
  signal: AbortSignal,
  close: () => void,
  place: Place,
): (outcome: Outcome, isOver?: boolean) => void {
  let isDone = false;
  const finish = (outcome: Outcome, isOver = true): void => {
    if (isOver) close();
    if (isDone) return;
    isDone = true;
    clearTimeout(timer);
    signal.removeEventListener("abort", give);
    done(outcome);
  };
  const timer = setTimeout(
    () => finish({ status: "timeout", message: `no answer from ${placeText(place)} within ${timeoutMs} ms` }),
    timeoutMs,
  );
  const give = (): void => finish({ status: "failed", message: "given up" });
  if (signal.aborted) queueMicrotask(give);
  else signal.addEventListener("abort", give, { once: true });
  return finish;
}

const SAID: Record<string, string> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the connection was reset",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network unreachable",
  ENOTFOUND: "no such host name",
};

function failure(error: NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] }, place: Place): Outcome {
  const { code, message } = error.errors?.[0] ?? error;
  return { status: "failed", message: `${placeText(place)}: ${SAID[code ?? ""] ?? (message || code)}` };
}
