import { z } from "zod";
import { EnrolAnswer, EnrolRequest } from "../../contract/frame.ts";
import { HostStatus, HostView, SCHEDULING } from "../../contract/host.ts";
import { HostId } from "../../contract/id.ts";
import { CLUSTER_SHARD } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import { conditional, jsonText, resource } from "../answer.ts";
import { journalStream, startOf, wantsStream } from "../event-stream.ts";
import { HOST } from "../example.ts";
import { listRows, pageAnswer } from "../listing.ts";
import { mintHostId } from "../mint.ts";
import { unwrap } from "../problem.ts";
import { flag, limit, several } from "../query.ts";
import { type Ask, type Route, route } from "../route.ts";
import { call } from "../stub.ts";
import { EVENT_ANSWERS, EventQuery } from "./deployment-events.ts";
import { labelFilter } from "./deployments.ts";

const params = { id: HostId };
const hostStub = (ask: Ask) => () => remote(ask.env.HOST, ask.params.id as string);

const ACTIONS = {
  cordon: "Cordon a host: place nothing new on it",
  uncordon: "Uncordon a host: place workloads on it again",
  drain: "Drain a host: move every workload away from it",
} as const;

const act = (action: keyof typeof ACTIONS): Route =>
  route({
    method: "POST",
    path: `/hosts/:id/${action}`,
    access: "hosts:write",
    group: "Hosts",
    summary: ACTIONS[action],
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "The host; done already is success too", schema: HostView, example: HOST } },
    problems: ["action_not_allowed", "host_removed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      return resource(unwrap(await call(hostStub(ask), (host) => host.act(action, mutation))));
    },
  });

export const HOSTS = [
  route({
    method: "POST",
    path: "/hosts",
    access: "hosts:join",
    group: "Hosts",
    summary: "Enrol a host",
    description:
      "Called by an agent with a join token. It takes one use of the token; the same public key again is the same use, and gets the same answer. A use is never given back.",
    body: {
      schema: EnrolRequest,
      example: {
        name: "lamp-1",
        public_key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        transport: "tunnel",
        labels: { zone: "a" },
        at: 1795253400000,
        proof: "c2lnbmF0dXJl…",
      },
    },
    answers: {
      201: {
        description: "Enrolled",
        schema: EnrolAnswer,
        example: { host_id: HOST.id, control_public_key: "5TxJQ1x1Fh3Oq0fDqUQm2Qj3bT8zKQe1nqv9pD3cR2E" },
      },
    },
    handle: async (ask) => {
      const actor = ask.principal.token_id;
      const candidate = await mintHostId(ask.env, Date.now());
      const joined = unwrap(
        await call(
          () => remote(ask.env.TOKEN, actor),
          (token) => token.join(ask.body.public_key, candidate, ask.requestId),
        ),
      );
      const enrolment = {
        id: joined.host_id,
        request: ask.body,
        labels: joined.labels,
        actor,
        request_id: ask.requestId,
      };
      const answer = await call(
        () => remote(ask.env.HOST, joined.host_id),
        (host) => host.enrol(enrolment),
      );
      return resource(unwrap(answer), { location: `${ask.prefix}/hosts/${joined.host_id}` });
    },
  }),
  route({
    method: "GET",
    path: "/hosts",
    access: "hosts:read",
    group: "Hosts",
    summary: "List hosts",
    description: "Newest first. Filters of one kind are alternatives, several labels must all be there.",
    query: z.object({
      status: several(HostStatus),
      label: several(z.string()).describe("`key` or `key=value`"),
      limit: limit(1000, 100),
      cursor: HostId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(HostView),
        example: [HOST],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) =>
      pageAnswer(
        ask,
        await listRows(ask.env, [CLUSTER_SHARD], {
          kind: "host",
          namespaces: [],
          names: [],
          statuses: ask.query.status,
          types: [],
          labels: ask.query.label.map(labelFilter),
          before: ask.query.cursor ?? null,
          limit: ask.query.limit,
        }),
      ),
  }),
  route({
    method: "GET",
    path: "/hosts/:id",
    access: "hosts:read",
    group: "Hosts",
    summary: "Read a host",
    description: `Its \`scheduling\` is one of ${SCHEDULING.join(", ")}; \`reserved\` is what its workloads may use of \`capacity\`.`,
    params,
    answers: {
      200: { description: "The host", schema: HostView, example: HOST },
      304: { description: "`If-None-Match` names its revision" },
    },
    problems: ["host_removed"],
    handle: async (ask) => conditional(ask.request, unwrap(await call(hostStub(ask), (host) => host.read()))),
  }),
  route({
    method: "DELETE",
    path: "/hosts/:id",
    access: "hosts:write",
    group: "Hosts",
    summary: "Remove a host",
    description:
      "Ends its enrolment. Refused while workloads are on it, unless `force` says that the machine is gone for good: they then count as gone, and run elsewhere.",
    params,
    query: z.object({ force: flag.optional() }),
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Removed" } },
    problems: ["host_not_empty", "host_removed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      return resource(unwrap(await call(hostStub(ask), (host) => host.remove(mutation, ask.query.force === true))));
    },
  }),
  act("cordon"),
  act("uncordon"),
  act("drain"),
  route({
    method: "GET",
    path: "/hosts/:id/events",
    access: "hosts:read",
    group: "Hosts",
    summary: "Events of a host",
    params,
    query: EventQuery,
    answers: EVENT_ANSWERS,
    problems: ["host_removed"],
    handle: async (ask) => {
      const { level, limit, after } = ask.query;
      const stub = hostStub(ask);
      if (wantsStream(ask.request)) {
        return journalStream(startOf(ask.request, after), level, (seq, waitMs) =>
          call(stub, (host) => host.follow(seq, waitMs)),
        );
      }
      return jsonText(`[${unwrap(await call(stub, (host) => host.events(level ?? null, limit))).join(",")}]`);
    },
  }),
];
