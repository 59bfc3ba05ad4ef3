import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Problem } from "../contract/problem.ts";
import { Failure, Interrupted, Refused, Unreachable } from "./failure.ts";

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;
export type Ask = {
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
  /** How long until no answer counts as none, ms. */
  timeoutMs?: number;
  /** Sent with a mutation, which may then be sent again. `null`: the request cannot be repeated. Default: a fresh one. */
  idempotencyKey?: string | null;
  signal?: AbortSignal;
};

export type Answer = { status: number; headers: Headers; text: string };

const PATIENCE_MS = 30_000;
/** Between attempts, ms: long enough in all for a control plane that is being restarted. */
const RETRY_DELAYS_MS = [150, 300, 600, 1200, 2400];

/** The control plane's HTTP API as one user sees it. */
export class Api {
  readonly url: string;
  readonly #token: string | null;
  readonly #interrupted: AbortSignal;
  /** A server that has answered before and now does not is being restarted; one that never did is not there. */
  #reached = false;

  constructor(url: string, token: string | null, interrupted: AbortSignal) {
    this.url = url.replace(/\/+$/, "");
    this.#token = token;
    this.#interrupted = interrupted;
  }

  get = (path: string, ask: Ask = {}): Promise<Answer> => this.#send("GET", path, ask);
  post = (path: string, ask: Ask = {}): Promise<Answer> => this.#send("POST", path, ask);
  patch = (path: string, ask: Ask = {}): Promise<Answer> => this.#send("PATCH", path, ask);
  put = (path: string, ask: Ask = {}): Promise<Answer> => this.#send("PUT", path, ask);
  delete = (path: string, ask: Ask = {}): Promise<Answer> => this.#send("DELETE", path, ask);

  /** The pages of a list, newest first, each as the server wrote it. `limit`: how many rows in all. */
  async *pages(path: string, query: Query, limit: number): AsyncGenerator<string> {
    let left = limit;
    let cursor: string | undefined;
    do {
      const size = Math.min(left, 1000);
      const answer = await this.get(path, { query: { ...query, limit: size, cursor } });
      yield answer.text;
      left -= size;
      cursor = nextCursor(answer.headers.get("link"));
    } while (cursor !== undefined && left > 0);
  }

  /** Opens a response whose body is read as it comes. Tried once: what reads it knows where to go on. */
  async open(path: string, ask: Ask = {}): Promise<Response> {
    const response = await this.#fetch("GET", path, ask, ask.signal ?? new AbortController().signal);
    if (response.ok) return response;
    throw await refusal(response.status, await response.text());
  }

  async #send(method: string, path: string, ask: Ask): Promise<Answer> {
    const key = method === "GET" ? null : ask.idempotencyKey === undefined ? randomUUID() : ask.idempotencyKey;
    const repeatable = method !== "POST" || key !== null;
    const headers = { ...ask.headers, ...(key === null ? {} : { "idempotency-key": key }) };
    for (const delay of [...RETRY_DELAYS_MS, null]) {
      const outcome = await this.#attempt(method, path, { ...ask, headers });
      if (!(outcome instanceof Failure)) return outcome;
      if (delay === null || !repeatable || !isPassing(outcome, this.#reached)) throw outcome;
      this.#reached = true;
      await sleep(delay * (1 + Math.random() * 0.2), undefined, { signal: this.#interrupted }).catch(() => {
        throw new Interrupted();
      });
    }
    throw new Unreachable(this.url, "no answer");
  }

  async #attempt(method: string, path: string, ask: Ask): Promise<Answer | Failure> {
    const patience = AbortSignal.timeout(ask.timeoutMs ?? PATIENCE_MS);
    try {
      const response = await this.#fetch(method, path, ask, patience);
      const text = await response.text();
      if (response.ok) return { status: response.status, headers: response.headers, text };
      return await refusal(response.status, text);
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      if (error instanceof Failure) return error;
      if (patience.aborted)
        return new Unreachable(
          this.url,
          `no answer within ${Math.round((ask.timeoutMs ?? PATIENCE_MS) / 1000)} s`,
          error,
        );
      return this.#trouble(error);
    }
  }

  async #fetch(method: string, path: string, ask: Ask, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = {
      "user-agent": "lamplighter-cli",
      accept: "application/json",
      ...ask.headers,
    };
    if (this.#token !== null) headers.authorization = `Bearer ${this.#token}`;
    if (ask.body !== undefined) headers["content-type"] = "application/json";
    const init: RequestInit = {
      method,
      headers,
      signal: AbortSignal.any([signal, this.#interrupted]),
      redirect: "follow",
    };
    if (ask.body !== undefined) init.body = JSON.stringify(ask.body);
    try {
      const response = await fetch(this.url + path + queryText(ask.query ?? {}), init);
      this.#reached = true;
      return response;
    } catch (error) {
      if (this.#interrupted.aborted) throw new Interrupted();
      if (signal.aborted) throw error;
      throw this.#trouble(error);
    }
  }

  #trouble(error: unknown): Failure {
    if (this.#interrupted.aborted) return new Interrupted();
    return new Unreachable(this.url, connectionTrouble(error), error);
  }
}

/** Worth asking again: the answer may be another one in a moment. */
function isPassing(failure: Failure, reached: boolean): boolean {
  if (failure instanceof Unreachable) return reached || wasCut(failure.cause);
  if (!(failure instanceof Refused)) return false;
  const { status, code } = failure.problem;
  return (
    code === "request_in_progress" ||
    code === "overloaded" ||
    ((status === 502 || status === 503 || status === 504) && code === "")
  );
}

const codeOf = (error: unknown): string => {
  const cause = (error as { cause?: { code?: string; errors?: { code?: string }[] } } | undefined)?.cause;
  return cause?.code ?? cause?.errors?.[0]?.code ?? "";
};

/** Something was there and broke off. Whatever else prevents a connection (no one listens, no such name) will still be so in a moment. */
const wasCut = (error: unknown): boolean =>
  ["ECONNRESET", "EPIPE", "ETIMEDOUT", "UND_ERR_SOCKET"].includes(codeOf(error));

const TROUBLE: Record<string, string> = {
  ECONNREFUSED: "connection refused",
  ENOTFOUND: "no such host name",
  EAI_AGAIN: "the host name could not be looked up",
  ECONNRESET: "the connection was cut",
  UND_ERR_SOCKET: "the connection was cut",
  ETIMEDOUT: "no answer",
  UND_ERR_CONNECT_TIMEOUT: "no answer",
  EHOSTUNREACH: "no route to the host",
  ERR_INVALID_URL: "this is not a URL",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
  CERT_HAS_EXPIRED: "its certificate has expired",
};

function connectionTrouble(error: unknown): string {
  const code = codeOf(error);
  const cause = (error as { cause?: { message?: string } }).cause;
  return TROUBLE[code] ?? cause?.message ?? (error instanceof Error ? error.message : String(error));
}

/** An error answer; what is not a problem document (a proxy's page, say) is told by its status alone. */
async function refusal(status: number, text: string): Promise<Failure> {
  try {
    return new Refused(Problem.parse(JSON.parse(text)));
  } catch {
    return new Refused({ type: "about:blank", title: "", status, code: "", detail: "", violations: [] });
  }
}

export function queryText(query: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) params.append(name, String(one));
  }
  return params.size === 0 ? "" : `?${params}`;
}

function nextCursor(link: string | null): string | undefined {
  const target = /<([^>]*)>\s*;\s*rel="?next"?/.exec(link ?? "")?.[1];
  if (target === undefined) return undefined;
  return new URL(target, "http://unused").searchParams.get("cursor") ?? undefined;
}
