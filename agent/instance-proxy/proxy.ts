import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Server as NetServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { QUERY_LIMITS } from "../../contract/engine-query.ts";
import type { Route } from "../../contract/route.ts";
import { exchange } from "./exchange.ts";
import { isHolder } from "./holder.ts";
import { progressOf } from "./progress.ts";
import { type Refusal, refuse } from "./refusal.ts";
import type { Entry, Routes } from "./routes.ts";
import type { Target, Targets } from "./target.ts";

export type ProxyOptions = {
  routes: Routes;
  targets: Targets;
  /** Somebody with a key asks; `waits`: for an instance that is to be woken. */
  asked: (instanceId: string, waits: boolean) => void;
  /** How long a query waits for an instance that is woken, ms. */
  wakeMs?: number;
  /** How long one waits for the next engine, when the one before has just gone, ms. */
  soonMs?: number;
};

const WAKE_MS = 30_000;
const SOON_MS = 5_000;
/** While somebody waits, that is said so often, ms: what was said may have been lost. */
const WAITS_AGAIN_MS = 3_000;
/** And that somebody asks. */
const ASKED_AGAIN_MS = 10_000;
/** An engine that has refused a connection is tried again after so long, should no other take its place, ms. */
const TRIED_AGAIN_MS = 250;

/** What callers may ask of an engine; the rest is for whoever steers it. Only these first three bring back an instance that is paused. */
const ROUTES: Record<string, { method: "GET" | "POST"; wakes: boolean }> = {
  "/query": { method: "POST", wakes: true },
  "/openapi.json": { method: "GET", wakes: true },
  "/schema": { method: "GET", wakes: true },
  "/health": { method: "GET", wakes: false },
  "/metrics": { method: "GET", wakes: false },
};

type Asked = {
  request: IncomingMessage;
  response: ServerResponse;
  entry: Entry;
  path: string;
  body: Buffer | null;
  wakes: boolean;
  /** Aborted when the caller hangs up. */
  gone: () => AbortSignal;
};

/** The one address of all instances of a host. */
export class InstanceProxy {
  readonly http: Server;
  readonly #options: ProxyOptions;
  /** When it was last said of an instance that it is asked, or waited for. */
  readonly #said = new Map<string, number>();
  #isEnding = false;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.http = createServer(
      {
        // A caller has so long for its headers, and for all of its request.
        ...{ headersTimeout: 10_000, requestTimeout: 20_000, connectionsCheckingInterval: 2_000 },
        ...{ keepAliveTimeout: 65_000, maxHeaderSize: 16 * 1024 },
      },
      (request, response) => {
        this.#answer(request, response).catch((error: Error) => {
          console.error(error);
          refuse(response, { code: "internal", detail: "this is a fault of the proxy" });
        });
      },
    );
    this.http.maxConnections = 20_000;
  }

  /** No new connections; the present ones are closed with their next answer. Calls back when none is left. */
  end(ended: () => void): void {
    this.#isEnding = true;
    // The HTTP server's own would close idle connections, on which requests may be on their way.
    NetServer.prototype.close.call(this.http, ended);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#isEnding) response.setHeader("connection", "close");
    const { id, path } = addressOf(request);
    const { routes } = this.#options;
    // Beside its predecessor on the port, it is asked from its first moment on.
    const entry = routes.find(id) ?? (id.startsWith("inst_") ? await routes.findOnceTold(id) : null);
    if (entry === null) return refuse(response, UNKNOWN);
    const route = ROUTES[path.split("?")[0] as string];
    if (route === undefined) return refuse(response, { code: "not_found", detail: `there is no ${path}` });
    if (request.method !== route.method)
      return refuse(response, { code: "method_not_allowed", detail: `${path} is asked with ${route.method}` });
    const body = route.method === "POST" ? await bodyOf(request) : null;
    if (body === "too large") return refuse(response, TOO_LARGE);
    if (body === "cut") return;
    await this.#ask({ request, response, entry, path, body, wakes: route.wakes, gone: hungUp(response) });
  }

  /** A query is a read, so that asking it twice changes nothing: it is asked once more when an engine has died of it without a word, and no more than that. */
  async #ask(asked: Asked): Promise<void> {
    const { entry, request, response } = asked;
    if (asked.wakes) this.#tell(entry, request);
    const since = performance.now();
    for (let sent = 0; !response.destroyed; ) {
      const target = this.#targetOf(entry);
      if (target !== null) {
        // What came of it on a kept connection may be that connection's fault: the second time it is a fresh one.
        const outcome = await exchange(target, request, { ...asked, isFresh: sent > 0 }, response);
        if (outcome.type === "answered") return;
        if (outcome.sent && ++sent > 1) return refuse(response, DIED);
        if (outcome.sent) {
          // An engine that dies loses its connections one after the other: a new one at once might still be accepted, and lost as well.
          await sleep(DYING_MS, undefined, { signal: asked.gone() }).catch(() => undefined);
          continue;
        }
      }
      const refusal = await this.#wait(asked, performance.now() - since, target !== null);
      if (refusal !== null) return refuse(response, refusal);
    }
  }

  #targetOf({ route, withdrawnAt }: Entry): Target | null {
    return route.target === null || withdrawnAt !== null ? null : this.#options.targets.get(route.target);
  }

  /** Waits for a change, if that is worth it; else why the caller is sent away. */
  async #wait(asked: Asked, waitedMs: number, isDead: boolean): Promise<Refusal | null> {
    const { entry, request, wakes } = asked;
    const { route, withdrawnAt } = entry;
    const { closed } = route;
    if (withdrawnAt !== null && this.#options.routes.find(route.instance_id) !== entry) return UNKNOWN;
    const isAwaited = wakes && route.wakes && route.target === null && withdrawnAt === null;
    // An engine that serves and does not answer, or is about to be stopped, has a successor soon.
    const isSoon = withdrawnAt !== null || (wakes && (route.target !== null || closed.soon));
    const { wakeMs = WAKE_MS, soonMs = SOON_MS } = this.#options;
    const most = isAwaited ? wakeMs : isSoon ? soonMs : 0;
    // A route that is about to be another is so for a moment only, and which keys there are may be what changes.
    const mayWait = most > 0 && (withdrawnAt !== null || isHolder(request.headers.authorization, route, Date.now()));
    if (most > 0 && !mayWait && route.key_secret !== null)
      return { code: "unauthenticated", detail: "send Authorization: Bearer rxk_… with a key of this instance" };
    if (!mayWait || waitedMs >= most || entry.isFull) return this.#closed(asked);
    if (isAwaited) this.#say(route.instance_id, true, WAITS_AGAIN_MS - 100);
    const atMost = isAwaited ? WAITS_AGAIN_MS : isDead ? TRIED_AGAIN_MS : most;
    await entry.change(Math.min(atMost, most - waitedMs), asked.gone());
    return null;
  }

  /** Who has no key keeps nothing awake. */
  #tell({ route }: Entry, { headers }: IncomingMessage): void {
    if (!route.tells || route.target === null) return;
    const at = this.#said.get(`${route.instance_id} ${false}`);
    const isDue = at === undefined || performance.now() - at >= ASKED_AGAIN_MS;
    if (isDue && isHolder(headers.authorization, route, Date.now()))
      this.#say(route.instance_id, false, ASKED_AGAIN_MS);
  }

  /** Once for all, and again after a while. */
  #say(instanceId: string, waits: boolean, againMs: number): void {
    const now = performance.now();
    const key = `${instanceId} ${waits}`;
    if (now - (this.#said.get(key) ?? -Infinity) < againMs) return;
    this.#said.set(key, now);
    this.#options.asked(instanceId, waits);
  }

  async #closed({ entry: { route, withdrawnAt }, request }: Asked): Promise<Refusal> {
    if (withdrawnAt !== null) return UNKNOWN;
    const closed = route.target === null ? route.closed : GONE;
    const { code, detail } = closed;
    const isKnown = isHolder(request.headers.authorization, route, Date.now());
    const progress = code === "loading" && isKnown ? await progressOf(route) : null;
    return {
      code,
      detail,
      retryAfterSeconds: retryAfter(closed, Date.now()),
      ...(progress === null ? {} : { more: { progress } }),
    };
  }
}

const DYING_MS = 50;

/** A schedule may be changed meanwhile: nobody is sent away for longer, s. */
const LONGEST_RETRY_S = 3600;
/** It should have come back, and has not yet, s. */
const OVERDUE_RETRY_S = 5;

function retryAfter({ retry_after_s, resumes_at }: Route["closed"], now: number): number {
  if (resumes_at === undefined) return retry_after_s;
  return Math.min(Math.max(Math.ceil((resumes_at - now) / 1000), OVERDUE_RETRY_S), LONGEST_RETRY_S);
}

const UNKNOWN: Refusal = { code: "not_found", detail: "no such instance is on this host" };
const GONE: Route["closed"] = {
  ...{ code: "no_engine", detail: "the engine has gone and is being started again", retry_after_s: 1, soon: false },
};
const DIED: Refusal = {
  ...{ code: "no_engine", detail: "the engine went twice before it answered", retryAfterSeconds: 5 },
};
const TOO_LARGE: Refusal = {
  ...{ code: "body_too_large", detail: `a query has at most ${QUERY_LIMITS.bodyBytes} bytes` },
};

/** Most callers are answered without waiting for anything: what tells of their going is made when somebody does. */
function hungUp(response: ServerResponse): () => AbortSignal {
  let signal: AbortSignal | null = null;
  return () => {
    if (signal !== null) return signal;
    const gone = new AbortController();
    if (response.destroyed) gone.abort();
    else response.once("close", () => gone.abort());
    signal = gone.signal;
    return signal;
  };
}

/** `/<instance>/query`, or `/query` at a name that begins with the instance's id, where names have a minus for the underscore. */
function addressOf({ url = "", headers }: IncomingMessage): { id: string; path: string } {
  if (url.startsWith("/inst_")) {
    const end = url.slice(1).search(/[/?]/) + 1;
    return end === 0 ? { id: url.slice(1), path: "/" } : { id: url.slice(1, end), path: url.slice(end) };
  }
  const [label = ""] = (headers.host ?? "").split(".");
  return { id: label.replace("-", "_"), path: url };
}

/** Of a request that is too large so much is read all the same: cut off in the middle, its caller would not read why. */
const DISCARDED_BYTES = 8 * 1024 ** 2;

/** All of it, since it may have to be asked again. */
function bodyOf(request: IncomingMessage): Promise<Buffer | "too large" | "cut"> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= QUERY_LIMITS.bodyBytes) chunks.push(chunk);
      if (bytes <= DISCARDED_BYTES) return;
      request.pause();
      resolve("too large");
    });
    request.on("end", () =>
      resolve(
        bytes > QUERY_LIMITS.bodyBytes
          ? "too large"
          : chunks.length === 1
            ? (chunks[0] as Buffer)
            : Buffer.concat(chunks),
      ),
    );
    request.on("close", () => resolve("cut"));
    request.on("error", () => resolve("cut"));
  });
}
