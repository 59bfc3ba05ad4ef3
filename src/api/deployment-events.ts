import { z } from "zod";
import { JournalEvent, Level } from "../../contract/event.ts";
import { DeploymentId } from "../../contract/id.ts";
import { accept } from "../../contract/problem.ts";
import { jsonText } from "../answer.ts";
import { journalStream, startOf, wantsStream } from "../event-stream.ts";
import { EVENT } from "../example.ts";
import { unwrap } from "../problem.ts";
import { limit } from "../query.ts";
import { route } from "../route.ts";
import { call } from "../stub.ts";
import { deploymentStub } from "./deployments.ts";

/** Query of every list of events. */
export const EventQuery = z.object({
  level: Level.optional(),
  limit: limit(1000, 50),
  after: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .describe("Stream only: start after this `seq`; a `Last-Event-ID` header wins"),
});

export const EVENT_ANSWERS = {
  200: {
    description:
      "The newest events first; or, with `Accept: text/event-stream`, every event from `after` on as it happens, with its `seq` as the id",
    schema: z.array(JournalEvent),
    media: ["application/json", "text/event-stream"],
    example: [EVENT],
  },
} as const;

/** As every event, and with the name that Ring has for `resource_id`. */
const DeploymentEvent = JournalEvent.extend({ deployment_id: z.string().optional() });
const withDeployment = (id: string, body: string): string => `${body.slice(0, -1)},"deployment_id":"${id}"}`;

export const DEPLOYMENT_EVENTS = [
  route({
    method: "GET",
    path: "/deployments/:id/events",
    access: "deployments:read",
    ticket: "events",
    group: "Deployments",
    summary: "Events of a deployment",
    params: { id: DeploymentId },
    query: EventQuery,
    answers: { 200: { ...EVENT_ANSWERS[200], schema: z.array(DeploymentEvent) } },
    handle: async (ask) => {
      const { namespaces } = ask.principal;
      const { level, limit, after } = ask.query;
      const id = ask.params.id as string;
      const stub = deploymentStub(ask);
      if (wantsStream(ask.request)) {
        return journalStream(startOf(ask.request, after), level, (seq, waitMs) =>
          call(stub, (deployment) => deployment.follow(namespaces, seq, waitMs)).then((reply) =>
            reply.ok ? accept(reply.value.map(({ seq, body }) => ({ seq, body: withDeployment(id, body) }))) : reply,
          ),
        );
      }
      const events = unwrap(await call(stub, (deployment) => deployment.events(namespaces, level ?? null, limit)));
      return jsonText(`[${events.map((body) => withDeployment(id, body)).join(",")}]`);
    },
  }),
];
