import { timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { z } from "zod";
import { type EngineHealth, EngineKeys, EngineSource } from "../../contract/engine.ts";
import { FRESHNESS_HEADERS, QUERY_LIMITS } from "../../contract/engine-query.ts";
import { QueryProblem } from "../../query/problem.ts";
import { Queries } from "../query/queries.ts";
import type { MemoryLimit } from "../replication/memory.ts";
import type { Replica } from "../replication/replica.ts";
import type { Shape } from "../shape/shape.ts";
import type { Position, Source } from "../source/source.ts";
import type { Keys } from "./keys.ts";
import { type Counts, metricsText } from "./metrics.ts";
import { schemaView } from "./schema-view.ts";

export type Serving = {
  shape: Shape;
  openapi: unknown;
  build: string;
  replica: Replica;
  source: Source;
  keys: Keys;
  adminToken: string;
  memory: MemoryLimit;
  /** Where the source is now; null: it sleeps. */
  locate: (at: EngineSource["at"]) => void;
};

/** How long a request waits for rows as new as it wants. */
const FRESH_WITHIN_MS = 2000;

/** The engine's HTTP API. */
export class EngineServer {
  readonly http: Server;
  readonly #serving: Serving;
  readonly #queries: Queries;
  #lastQueryAt: number | null = null;
  readonly #counts: Counts = { queries: 0, problems: new Map(), seconds: 0, plans: 0 };

  constructor(serving: Serving) {
    this.#serving = serving;
    this.#queries = new Queries(serving.shape);
    this.http = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => this.#fail(response, error, ""));
    });
  }

  get health(): EngineHealth {
    const { replica, build, shape, source, memory } = this.#serving;
    return {
      ...{
        state: replica.state,
        build,
        snapshot_id: replica.snapshot,
        load: replica.load,
        drift: replica.drift,
        failure: replica.failure,
      },
      replication: {
        ...{
          state: replica.standing.state,
          mode: source.mode,
          position: replica.position?.text ?? null,
          age_ms: replica.ageAt(Date.now()),
        },
        ...{ reason: replica.standing.reason, resyncs: replica.resyncs, transactions: replica.transactions },
      },
      rows: Object.fromEntries(shape.tables.map(({ name }, place) => [name, replica.store.tables[place]?.live ?? 0])),
      last_query_at: this.#lastQueryAt,
      memory: { used_mb: Math.round(memory.usedMb * 10) / 10, limit_mb: memory.limitMb },
    };
  }

  /** For whoever has no key: nothing of tables, nor of the source. */
  get #publicHealth(): unknown {
    const { replica } = this.#serving;
    return { state: replica.state, replication: { state: replica.standing.state, age_ms: replica.ageAt(Date.now()) } };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split("?")[0] ?? "";
    const route = `${request.method} ${path}`;
    const { replica, openapi, shape, keys } = this.#serving;
    switch (route) {
      case "POST /query":
        return this.#query(request, response);
      case "GET /health":
        return send(
          response,
          replica.state === "serving" ? 200 : 503,
          this.#isKnown(request) ? this.health : this.#publicHealth,
        );
      case "GET /metrics":
        if (!this.#isKnown(request)) keys.check(request.headers.authorization);
        this.#counts.plans = this.#queries.compiled;
        response
          .writeHead(200, { "content-type": "text/plain; version=0.0.4" })
          .end(metricsText(this.health, this.#counts));
        return;
      case "GET /openapi.json":
        keys.check(request.headers.authorization);
        return send(response, 200, openapi);
      case "GET /schema": {
        const { scope } = keys.check(request.headers.authorization);
        return send(
          response,
          200,
          schemaView(shape, (table) => scope.tables?.has(table) ?? true),
        );
      }
      case "POST /pause-replication":
        this.#admit(request);
        replica.standing.pause();
        return send(response, 200, { replication_paused: true });
      case "POST /resume-replication":
        this.#admit(request);
        replica.standing.resume();
        return send(response, 200, { replication_paused: false });
      case "POST /reload":
        this.#admit(request);
        if (replica.standing.state === "paused")
          throw new QueryProblem("paused", "replication is paused: resume it first");
        replica.reload();
        return send(response, 202, { reloading: true });
      case "PUT /keys": {
        this.#admit(request);
        const given = parsed(EngineKeys, await bodyOf(request));
        keys.replace(given);
        return send(response, 200, { keys: given.keys.length });
      }
      case "PUT /source": {
        this.#admit(request);
        this.#serving.locate(parsed(EngineSource, await bodyOf(request)).at);
        return send(response, 200, { replication: replica.standing.state });
      }
      default:
        throw new QueryProblem(ROUTES.has(path) ? "method_not_allowed" : "not_found", `there is no ${route}`);
    }
  }

  async #query(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    const asked = Date.now();
    try {
      const { replica, keys } = this.#serving;
      const { scope, scopeKey } = keys.check(request.headers.authorization);
      text = await bodyOf(request);
      if (replica.state !== "serving")
        throw new QueryProblem("loading", "the rows are being loaded; GET /health says how far it is", {
          retryAfterSeconds: 2,
        });
      const { headers } = request;
      if (FRESHNESS_HEADERS.maxStaleness in headers || FRESHNESS_HEADERS.minPosition in headers)
        await this.#freshEnough(request, asked);
      const started = performance.now();
      const { json, more, cursor } = this.#queries.run(replica.store, text, scope, scopeKey);
      this.#counts.queries++;
      this.#lastQueryAt = Date.now();
      this.#counts.seconds += (performance.now() - started) / 1000;
      // Names and values in one list are what Node has the least to do with.
      const head = ["content-type", "application/json", "content-length", json.length, ...this.#freshness(asked)];
      if (more) head.push(FRESHNESS_HEADERS.more, "true");
      if (cursor !== null) head.push(FRESHNESS_HEADERS.cursor, cursor);
      response.writeHead(200, head);
      response.end(json, () => this.#queries.sent(json));
    } catch (error) {
      this.#fail(response, error, text);
    }
  }

  /** @param asked when the request came: what its own answer took makes no rows old */
  #freshness(asked: number): (string | number)[] {
    const { replica } = this.#serving;
    const { state: replication } = replica.standing;
    const shown =
      replication === "live" || replication === "paused" || replication === "asleep"
        ? replication
        : replication === "catching_up"
          ? "live"
          : "reconnecting";
    return [
      FRESHNESS_HEADERS.age,
      replica.ageAt(asked) ?? 0,
      FRESHNESS_HEADERS.snapshot,
      replica.snapshot,
      FRESHNESS_HEADERS.position,
      replica.position?.text ?? "",
      FRESHNESS_HEADERS.replication,
      replication === "drifted" || replication === "resyncing" ? replication : shown,
    ];
  }

  async #freshEnough({ headers }: IncomingMessage, asked: number): Promise<void> {
    const { replica, source } = this.#serving;
    const [staleness, minimum] = [headers[FRESHNESS_HEADERS.maxStaleness], headers[FRESHNESS_HEADERS.minPosition]];
    if (typeof minimum === "string") {
      const position = source.parse(minimum);
      if (position === null)
        throw new QueryProblem(
          "invalid_header",
          `${FRESHNESS_HEADERS.minPosition} is a position of the source, as ${FRESHNESS_HEADERS.position} has it`,
        );
      await this.#wait(position, "position_not_reached");
    }
    if (typeof staleness === "string") {
      const most = Number(staleness);
      if (!Number.isFinite(most) || most < 0)
        throw new QueryProblem("invalid_header", `${FRESHNESS_HEADERS.maxStaleness} is a number of milliseconds`);
      // What is not known to be new enough is asked of the source.
      const age = replica.ageAt(asked);
      if (age !== null && age <= most) return;
      if (source.mode === "poll" || replica.standing.isStill)
        throw new QueryProblem("stale", `the rows are ${age} ms old`, { retryAfterSeconds: 1 });
      await this.#wait(await source.now().catch(() => null), "stale");
      replica.isAsOf(asked);
    }
  }

  async #wait(position: Position | null, code: "stale" | "position_not_reached"): Promise<void> {
    const { replica } = this.#serving;
    if (position !== null && (await replica.reaches(position, FRESH_WITHIN_MS))) return;
    const at = replica.position?.text ?? "no position";
    throw new QueryProblem(
      code,
      `after ${FRESH_WITHIN_MS} ms the rows are still as of ${at}; replication is ${replica.standing.state}`,
      { retryAfterSeconds: 1 },
    );
  }

  /** Shows the admin token. */
  #isKnown({ headers }: IncomingMessage): boolean {
    const wanted = Buffer.from(`Bearer ${this.#serving.adminToken}`);
    const given = Buffer.from(headers.authorization ?? "");
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  #admit(request: IncomingMessage): void {
    if (!this.#isKnown(request)) throw new QueryProblem("unauthenticated", "this wants the engine's admin token");
  }

  #fail(response: ServerResponse, error: unknown, text: string): void {
    const problem =
      error instanceof QueryProblem ? error : new QueryProblem("internal", "this is a fault of the engine");
    if (problem !== error) console.error(error);
    this.#counts.problems.set(problem.code, (this.#counts.problems.get(problem.code) ?? 0) + 1);
    if (response.headersSent) return void response.destroy();
    if (problem.retryAfterSeconds !== null) response.setHeader("retry-after", problem.retryAfterSeconds);
    if (problem.code === "body_too_large") response.setHeader("connection", "close");
    send(response, problem.status, problem.body(text), "application/problem+json");
  }
}

const ROUTES = new Set([
  "/query",
  "/health",
  "/metrics",
  "/openapi.json",
  "/schema",
  "/pause-replication",
  "/resume-replication",
  "/reload",
  "/keys",
  "/source",
]);

function parsed<T>(schema: z.ZodType<T>, text: string): T {
  const result = schema.safeParse(JSON.parse(text));
  if (result.success) return result.data;
  throw new QueryProblem("parse_error", result.error.issues.map(({ message }) => message).join("; "));
}

function send(response: ServerResponse, status: number, value: unknown, type = "application/json"): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { "content-type": type, "content-length": body.length }).end(body);
}

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= QUERY_LIMITS.bodyBytes) chunks.push(chunk);
      else reject(new QueryProblem("body_too_large", `a query has at most ${QUERY_LIMITS.bodyBytes} bytes`));
    });
    request.on("end", () => resolve(chunks.length === 1 ? String(chunks[0]) : Buffer.concat(chunks).toString("utf8")));
    request.on("error", reject);
  });
}
