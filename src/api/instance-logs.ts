import { z } from "zod";
import { BuildId, instanceId } from "../../contract/id.ts";
import type { Reply } from "../../contract/problem.ts";
import { LogLine } from "../../contract/workload.ts";
import type { LogState } from "../../objects/instance/reading.ts";
import { copied } from "../../objects/remote.ts";
import { jsonText } from "../answer.ts";
import { LOG_LINE } from "../example.ts";
import { followLogs, type Readable } from "../followed-logs.ts";
import { linesOf, type Source, unavailable } from "../log-source.ts";
import { unwrap } from "../problem.ts";
import { flag, since } from "../query.ts";
import { type Ask, type Route, route } from "../route.ts";
import { call } from "../stub.ts";
import { INSTANCE_PARAMS, instanceStub } from "./instances.ts";

const Query = z.object({
  tail: z.coerce.number().int().min(0).max(10_000).default(200).describe("How many of the newest lines"),
  since: since.optional().describe("Only lines since then: `<n>s`, `<n>m`, `<n>h`, `<n>d` ago, or a time (RFC 3339)"),
  follow: flag.optional().describe("Stream new lines as they are written"),
  failed: flag.optional().describe("Of an instance: the last lines of the engine that failed last, which are kept"),
});
type LogAsk = Ask<z.output<typeof Query>>;

const logsRoute = (
  path: string,
  summary: string,
  description: string,
  params: Record<string, z.ZodType<string>>,
): Route =>
  route({
    method: "GET",
    path,
    access: "instances:read",
    group: "Instances",
    summary,
    description,
    params,
    query: Query,
    answers: {
      200: {
        description: "The lines, oldest first; with `follow`, a `text/event-stream` with one line per message",
        schema: z.array(LogLine),
        media: ["application/json", "text/event-stream"],
        example: [LOG_LINE],
      },
    },
    handle: async (ask) => {
      const first = unwrap(await read(ask));
      const { tail, since: from = null, follow } = ask.query;
      // A log goes on over the generations of a workload: of those of before, a build's has nothing.
      const meant = new Set(first.sources.map(({ instance_id }) => instance_id));
      const wants = (instance: string): boolean => ask.params.build === undefined || meant.has(instance);
      if (!follow)
        return jsonText(JSON.stringify((await linesNow(ask, first)).filter(({ instance }) => wants(instance))));
      const next = async (seq: number, waitMs: number): Promise<Readable | null> => {
        const present = await later(ask, seq, waitMs);
        for (const { instance_id } of present?.sources ?? []) meant.add(instance_id);
        return present;
      };
      return followLogs(first, { tail, since: from }, { env: ask.env, wants, next });
    },
  });

/** What can be read now. */
async function read(ask: LogAsk): Promise<Reply<Readable>> {
  const { namespaces } = ask.principal;
  const state = await call(instanceStub(ask), (instance) =>
    instance.logState(namespaces, { build: ask.params.build ?? null, failed: ask.query.failed ?? false }),
  );
  return state.ok ? { ok: true, value: readable(state.value as LogState) } : copied(state);
}

function readable({ place, kept, over, cursor }: LogState): Readable {
  if (place === null) return { over, cursor, sources: [] };
  const source: Source = { ...place, instance_id: instanceId(place.workload_id, place.generation) };
  return { over, cursor, sources: [kept === null ? source : { ...source, kept }] };
}

async function linesNow(ask: LogAsk, { sources }: Readable): Promise<LogLine[]> {
  const { tail, since: from = null } = ask.query;
  const lines: LogLine[] = [];
  for (const source of sources) {
    try {
      const query = { tail, since: from, follow: false };
      for await (const part of linesOf(ask.env, source, query, new AbortController().signal)) lines.push(...part);
    } catch (error) {
      lines.push(unavailable(source, error));
    }
  }
  return lines;
}

/** What there is after the next change, or after a while; null when the instance, or the build, is gone. */
async function later(ask: LogAsk, seq: number, waitMs: number): Promise<Readable | null> {
  const { namespaces } = ask.principal;
  const news = await call(instanceStub(ask), (instance) => instance.follow(namespaces, seq, waitMs));
  const present = news.ok ? await read(ask) : null;
  return present?.ok ? present.value : null;
}

export const INSTANCE_LOGS = [
  logsRoute(
    "/instances/:id/logs",
    "What its engine writes",
    "Of the engine that serves, or else of what is on its way to serving. A stream goes on over restarts and rollouts, and ends when the instance is terminated.",
    INSTANCE_PARAMS,
  ),
  logsRoute(
    "/instances/:id/builds/:build/logs",
    "What a build writes",
    "Its last 1,000 lines are kept with the build. A stream begins before the build does if it must, and ends with it.",
    { ...INSTANCE_PARAMS, build: BuildId },
  ),
];
