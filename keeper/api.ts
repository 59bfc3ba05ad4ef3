import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { EXPOSITION_TYPE, expose } from "../contract/exposition.ts";
import {
  type KeeperErrorCode,
  KeptDatabaseId,
  type LeaseAnswer,
  LeaseRequest,
  PromiseRequest,
  SeedQuery,
  WriterAddress,
} from "../contract/keeper.ts";
import { parseLsn, SEGMENT_BYTES } from "../postgres/lsn.ts";
import { type Database, Unready } from "./database.ts";
import { freeBytesAt, series } from "./metrics.ts";
import { readBase, readLog } from "./reading.ts";
import { restorePoints } from "./restore-points.ts";
import type { Roster } from "./roster.ts";
import type { Surroundings } from "./surroundings.ts";
import { refuseOlder, StaleTerm } from "./term.ts";

export type Api = { roster: Roster; around: Surroundings; isCaller: (token: string) => boolean };

const BODY_MOST = 64 * 1024;
const LEASES_MOST = 1024 * 1024;

const STATUS: Record<KeeperErrorCode, number> = {
  unauthorized: 401,
  not_found: 404,
  invalid: 400,
  stale_term: 409,
  not_restorable: 409,
  conflict: 409,
  unavailable: 503,
};

class Refused extends Error {
  readonly code: KeeperErrorCode;

  constructor(code: KeeperErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

type Answer = { json: unknown } | { text: string; type: string } | { stream: Readable; type: string };

/** Answers one request. The paths are those of contract/keeper.ts. */
export async function serve(request: IncomingMessage, response: ServerResponse, api: Api): Promise<void> {
  try {
    const url = new URL(request.url ?? "/", "http://keeper");
    const answer = await route(request, url, api);
    if ("stream" in answer) {
      response.writeHead(200, { "content-type": answer.type });
      return await pipeline(answer.stream, response);
    }
    if ("text" in answer) {
      response.writeHead(200, { "content-type": answer.type });
      return void response.end(answer.text);
    }
    end(response, 200, answer.json);
  } catch (error) {
    if (response.headersSent) return void response.destroy();
    const { code, message } = refusalOf(error);
    // What was not read of a request would be taken for the next one.
    if (!request.complete) response.setHeader("connection", "close");
    end(response, STATUS[code], { code, message });
  }
}

async function route(request: IncomingMessage, url: URL, api: Api): Promise<Answer> {
  const { roster, around } = api;
  const [noun, id, verb, item, ...more] = url.pathname.split("/").filter(Boolean);
  const { method = "GET" } = request;
  if (noun === "health" && id === undefined) return { json: { status: "ok", keeper: around.name } };
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
  if (!api.isCaller(token)) throw new Refused("unauthorized", "expected the keeper's token as a bearer token");
  if (noun === "leases" && method === "POST" && id === undefined)
    return { json: await leases(LeaseRequest.parse(await readJson(request, LEASES_MOST)), roster) };
  if (noun === "metrics" && method === "GET" && id === undefined)
    return { text: await metrics(api), type: EXPOSITION_TYPE };
  if (noun !== "databases" || more.length > 0) throw notFound(url);
  if (id === undefined) {
    if (method !== "GET") throw notFound(url);
    return { json: (await roster.all()).map((database) => database.status()) };
  }
  KeptDatabaseId.parse(id);
  const what = `${method} ${verb ?? ""}${item === undefined ? "" : "/:item"}`;
  switch (what) {
    case "POST promise": {
      const { term } = PromiseRequest.parse(await readJson(request));
      return { json: await (await roster.getOrMake(id)).promise(term) };
    }
    case "PUT writer": {
      const writer = WriterAddress.parse(await readJson(request));
      return { json: await (await roster.getOrMake(id)).follow(writer) };
    }
    case "PUT seed": {
      const query = SeedQuery.parse(Object.fromEntries(url.searchParams));
      return { json: await (await roster.getOrMake(id)).seed(query, request) };
    }
  }
  const database = await roster.get(id);
  if (database === null) throw new Refused("not_found", `nothing is kept of ${id}`);
  switch (what) {
    case "GET ":
      return { json: database.status() };
    case "DELETE ":
      refuseOlder(termOf(url), database.state.promised_term);
      await roster.remove(id);
      return { json: {} };
    case "DELETE writer":
      return { json: await database.release(termOf(url)) };
    case "POST bases":
      return { json: await database.takeBase() };
    case "GET restore-points":
      return { json: restorePoints(database) };
    case "GET restore-plan":
      return { json: await planOf(database, url) };
    case "GET bases/:item": {
      const stream = await readBase(around, database, item ?? "");
      if (stream === null) throw notFound(url);
      return { stream, type: "application/zstd" };
    }
    case "GET wal/:item": {
      const bytes = z.coerce.number().int().min(1).max(SEGMENT_BYTES).default(SEGMENT_BYTES);
      const stream = await readLog(
        around,
        database,
        item ?? "",
        bytes.parse(url.searchParams.get("bytes") ?? undefined),
      );
      if (stream === null) throw notFound(url);
      return { stream, type: "application/octet-stream" };
    }
    default:
      throw notFound(url);
  }
}

async function metrics({ roster, around }: Api): Promise<string> {
  const kept = (await roster.all()).map((database) => database.status());
  return expose(series(kept, around.counters, { now: around.now(), freeBytes: await freeBytesAt(around.dataDir) }));
}

async function leases({ writers }: LeaseRequest, roster: Roster): Promise<LeaseAnswer> {
  const asked = writers.map(async ({ database, term }) =>
    (await roster.get(database))?.lease(term) ? [database] : [],
  );
  return { given: (await Promise.all(asked)).flat() };
}

async function planOf(database: Database, url: URL) {
  const lsn = url.searchParams.get("lsn");
  const time = url.searchParams.get("time");
  if (lsn !== null) parseLsn(lsn);
  const target = lsn !== null ? { lsn } : time !== null ? { time: z.coerce.number().int().parse(time) } : null;
  const plan = await database.plan(target);
  if (typeof plan === "string") throw new Refused("not_restorable", plan);
  return plan;
}

const termOf = (url: URL): number => z.coerce.number().int().positive().parse(url.searchParams.get("term"));

const notFound = (url: URL): Refused => new Refused("not_found", `there is nothing at ${url.pathname}`);

function refusalOf(error: unknown): { code: KeeperErrorCode; message: string } {
  const { message } = error as Error;
  if (error instanceof Refused) return error;
  if (error instanceof StaleTerm) return { code: "stale_term", message };
  if (error instanceof Unready) return { code: "conflict", message };
  if (error instanceof z.ZodError) {
    const all = error.issues.map((issue) => `${issue.path.join(".") || "it"}: ${issue.message}`);
    return { code: "invalid", message: all.join("; ") };
  }
  if (error instanceof SyntaxError) return { code: "invalid", message: "the body is not JSON" };
  return { code: "unavailable", message };
}

async function readJson(request: IncomingMessage, most = BODY_MOST): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > most) throw new Refused("invalid", "the body is too large");
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

function end(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}
