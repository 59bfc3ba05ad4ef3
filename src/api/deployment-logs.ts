import { z } from "zod";
import { type DeploymentView, isTerminal } from "../../contract/deployment.ts";
import { DeploymentId } from "../../contract/id.ts";
import { LogLine } from "../../contract/workload.ts";
import { jsonText } from "../answer.ts";
import { LOG_LINE } from "../example.ts";
import { byTime, followLogs, type Readable } from "../followed-logs.ts";
import { linesOf, type Source, unavailable } from "../log-source.ts";
import { fail, ProblemError, unwrap } from "../problem.ts";
import { flag, since } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { deploymentStub } from "./deployments.ts";

const Query = z.object({
  tail: z.coerce.number().int().min(0).max(10_000).default(100).describe("How many of the newest lines"),
  since: since.optional().describe("Only lines since then: `<n>s`, `<n>m`, `<n>h`, `<n>d` ago, or a time (RFC 3339)"),
  container: z.string().min(1).optional().describe("Only instances whose id starts with this or has it in it"),
  follow: flag.optional().describe("Stream new lines as they are written"),
});

export const DEPLOYMENT_LOGS = [
  route({
    method: "GET",
    path: "/deployments/:id/logs",
    access: "deployments:read",
    ticket: "logs",
    group: "Deployments",
    summary: "What its instances write",
    description:
      "Lines of all instances, in order of time. An id that names no deployment has no lines; its stream is refused. When a host cannot be asked, a line of the level `warning` in its instances' place says why. A stream goes on over restarts, and ends when the deployment has ended.",
    // No form is asked of the id: Ring answers no lines for one that names nothing, and so do we.
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
      if (!ask.query.follow) return await snapshot(ask);
      if (!isId(ask)) fail("not_found", `There is no deployment ${JSON.stringify(ask.params.id?.slice(0, 100))}.`);
      const first = await readable(ask);
      const { tail, since = null } = ask.query;
      return followLogs(
        first,
        { tail, since },
        {
          env: ask.env,
          wants: (instance) => wants(ask, instance),
          next: (seq, waitMs) => next(ask, seq, waitMs),
        },
      );
    },
  }),
];

type LogAsk = Ask<z.output<typeof Query>>;

/** What can be read: instances that a host has, or had last. */
async function readable(ask: LogAsk): Promise<Readable> {
  const { namespaces } = ask.principal;
  const [read, running] = await Promise.all([
    call(deploymentStub(ask), (deployment) => deployment.read(namespaces)),
    call(deploymentStub(ask), (deployment) => deployment.running(namespaces)),
  ]);
  const view = JSON.parse(unwrap(read).body) as DeploymentView;
  const offered = new Set(view.instances.filter(({ phase }) => phase === "offered").map(({ id }) => id));
  const { container } = ask.query;
  // The lines of earlier generations come with those of the present one.
  const meant = ({ workload_id, instance_id }: Source) =>
    container === undefined || instance_id.includes(container) || container.includes(workload_id);
  const sources = unwrap(running).filter((one) => !offered.has(one.instance_id) && meant(one));
  const over = isTerminal(view.status) || view.status === "deleted";
  return { over, cursor: view.event_cursor, sources };
}

const wants = (ask: LogAsk, instance: string): boolean => instance.includes(ask.query.container ?? "");

async function snapshot(ask: LogAsk): Promise<Response> {
  const { tail, since = null } = ask.query;
  const { sources } = (isId(ask) && (await readableNow(ask))) || { sources: [] };
  const signal = new AbortController().signal;
  const all = await Promise.all(
    sources.map(async (source) => {
      const lines: LogLine[] = [];
      try {
        for await (const portion of linesOf(ask.env, source, { tail, since, follow: false }, signal))
          lines.push(...portion.filter(({ instance }) => wants(ask, instance)));
      } catch (error) {
        lines.push(unavailable(source, error));
      }
      return lines;
    }),
  );
  return jsonText(JSON.stringify(byTime(all.flat()).slice(-tail || Number.MAX_SAFE_INTEGER)));
}

const isId = ({ params }: LogAsk): boolean => DeploymentId.safeParse(params.id).success;

/** What can be read; null when there is no such deployment. */
async function readableNow(ask: LogAsk): Promise<Readable | null> {
  try {
    return await readable(ask);
  } catch (error) {
    if (error instanceof ProblemError && error.refusal.code === "not_found") return null;
    throw error;
  }
}

/** What there is after the next change, or after a while; null when the deployment is gone. */
async function next(ask: LogAsk, seq: number, waitMs: number): Promise<Readable | null> {
  const news = await call(deploymentStub(ask), (deployment) =>
    deployment.follow(ask.principal.namespaces, seq, waitMs),
  );
  return news.ok ? readableNow(ask) : null;
}
