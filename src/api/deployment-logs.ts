import { z } from "zod";
import { type DeploymentView, isTerminal } from "../../contract/deployment.ts";
import { DeploymentId } from "../../contract/id.ts";
import { parseDuration } from "../../contract/quantity.ts";
import { LogLine } from "../../contract/workload.ts";
import { jsonText } from "../answer.ts";
import { eventStream, KEEP_ALIVE_MS, message, type Send } from "../event-stream.ts";
import { LOG_LINE } from "../example.ts";
import { linesOf, type Source } from "../log-source.ts";
import { unwrap } from "../problem.ts";
import { flag, limit } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { deploymentStub } from "./deployments.ts";

/** Lines of several instances are put into order of time over this long, ms. */
const ORDERED_OVER_MS = 100;
/** With so many lines not sent yet, agents are not read any further until the reader of the stream has taken some. */
const WAITING_AT_MOST = 2_000;

const Since = z.string().transform((text, context) => {
  const ago = /^\d+[smhd]$/.test(text) ? parseDuration(text) : null;
  const at = ago === null ? Date.parse(text) : Date.now() - ago;
  if (ago !== null || (/^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(at))) return at;
  context.addIssue({
    code: "custom",
    message: 'expected how long ago, such as "10m", or a time such as "2026-11-21T09:30:00Z"',
  });
  return z.NEVER;
});

const Query = z.object({
  tail: limit(10_000, 100).describe("How many of the newest lines"),
  since: Since.optional().describe("Only lines since then: `<n>s`, `<n>m`, `<n>h`, `<n>d` ago, or a time (RFC 3339)"),
  container: z.string().min(1).optional().describe("Only instances whose id starts with this or has it in it"),
  follow: flag.optional().describe("Stream new lines as they are written"),
});

export const DEPLOYMENT_LOGS = [
  route({
    method: "GET",
    path: "/deployments/:id/logs",
    access: "deployments:read",
    group: "Deployments",
    summary: "What its instances write",
    description:
      "Lines of all instances, in order of time. When a host cannot be asked, a line of the level `warning` in its instances' place says why. A stream goes on over restarts, and ends when the deployment has ended.",
    params: { id: DeploymentId },
    query: Query,
    answers: {
      200: {
        description: "The lines; with `follow`, a `text/event-stream` with one line per message",
        schema: z.array(LogLine),
        media: ["application/json", "text/event-stream"],
        example: [LOG_LINE],
      },
    },
    handle: async (ask) => {
      const sources = await sourcesOf(ask, ask.query.container);
      return ask.query.follow
        ? eventStream((send, signal) => followLogs(ask, sources, send, signal))
        : snapshot(ask, sources);
    },
  }),
];

type LogAsk = Ask<z.output<typeof Query>>;

async function sourcesOf(ask: Ask, part: string | undefined): Promise<Source[]> {
  const running = unwrap(await call(deploymentStub(ask), (deployment) => deployment.running(ask.principal.namespaces)));
  return part === undefined ? running : running.filter(({ instance_id }) => instance_id.includes(part));
}

async function snapshot(ask: LogAsk, sources: Source[]): Promise<Response> {
  const { tail, since = null } = ask.query;
  const signal = new AbortController().signal;
  const all = await Promise.all(
    sources.map(async (source) => {
      const lines: LogLine[] = [];
      for await (const portion of linesOf(ask.env, source, { tail, since, follow: false }, signal))
        lines.push(...portion);
      return lines;
    }),
  );
  return jsonText(JSON.stringify(byTime(all.flat()).slice(-tail)));
}

const byTime = (lines: LogLine[]): LogLine[] =>
  lines.sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));

/** Follows the instances that are there, and those that come, until the deployment is gone or has ended and every line was sent. */
async function followLogs(ask: LogAsk, first: Source[], send: Send, signal: AbortSignal): Promise<void> {
  const { tail, since = null, container } = ask.query;
  const { namespaces } = ask.principal;
  const open = new Map<string, Promise<void>>();
  const seen = new Set<string>();
  let waiting: LogLine[] = [];
  let soon: Promise<void> | null = null;
  const flush = async () => {
    const lines = byTime(waiting);
    waiting = [];
    if (lines.length > 0) await send(lines.map((line) => message(JSON.stringify(line))).join(""));
  };
  const flushSoon = (): Promise<void> => {
    soon ??= pause(ORDERED_OVER_MS)
      .then(flush)
      .catch(() => undefined)
      .finally(() => {
        soon = null;
      });
    return soon;
  };
  const start = (source: Source, from: { tail: number | null; since: number | null }) => {
    if (seen.has(source.instance_id)) return;
    seen.add(source.instance_id);
    const run = async () => {
      for await (const portion of linesOf(ask.env, source, { ...from, follow: true }, signal)) {
        waiting.push(...portion);
        const sent = flushSoon();
        if (waiting.length >= WAITING_AT_MOST) await sent;
      }
    };
    open.set(
      source.instance_id,
      run()
        .catch(() => undefined)
        .finally(() => open.delete(source.instance_id)),
    );
  };
  for (const source of first) start(source, { tail, since });
  let seq = 0;
  while (!signal.aborted) {
    const present = await call(deploymentStub(ask), (deployment) => deployment.read(namespaces));
    if (!present.ok) break;
    const { status, event_cursor } = JSON.parse(present.value.body) as DeploymentView;
    seq = Math.max(seq, event_cursor);
    for (const source of await sourcesOf(ask, container).catch(() => [])) start(source, { tail: null, since: null });
    if (isTerminal(status) || status === "deleted") {
      await Promise.race([Promise.all(open.values()), pause(KEEP_ALIVE_MS)]);
      if (open.size === 0) break;
      continue;
    }
    const news = await call(deploymentStub(ask), (deployment) => deployment.follow(namespaces, seq, KEEP_ALIVE_MS));
    if (!news.ok) break;
    seq = news.value.at(-1)?.seq ?? seq;
  }
  await flush();
  await send(message('{"reason":"ended"}', { event: "end" }));
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
