import { z } from "zod";
import { ConnectionId, InstanceId } from "../../contract/id.ts";
import { InstanceView } from "../../contract/instance.ts";
import {
  createViolations,
  InstanceCreate,
  InstancePatch,
  partialViolations,
  patchViolations,
  specOf,
} from "../../contract/instance-check.ts";
import { InstanceStatus } from "../../contract/instance-status.ts";
import { scheduleViolations } from "../../objects/instance/pause-times.ts";
import { remote } from "../../objects/remote.ts";
import { conditional, jsonText, resource } from "../answer.ts";
import { idForCreation } from "../creation.ts";
import { journalStream, startOf, wantsStream } from "../event-stream.ts";
import { INSTANCE, INSTANCE_BODY } from "../instance-example.ts";
import { resourcesPage } from "../listing.ts";
import { checkedBy, mayCreateNamespace, permitNamespace } from "../namespaced.ts";
import { unwrap } from "../problem.ts";
import { limit, several } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";
import { EVENT_ANSWERS, EventQuery } from "./deployment-events.ts";

export const INSTANCE_PARAMS = { id: InstanceId };
export const instanceStub = (ask: Pick<Ask, "env" | "params">) => () =>
  remote(ask.env.INSTANCE, ask.params.id as string);

const partly = (body: unknown) => partialViolations(body, scheduleViolations);

export const INSTANCES = [
  route({
    method: "POST",
    path: "/instances",
    access: "instances:write",
    group: "Instances",
    summary: "Register an instance",
    description:
      "A read engine for one schema of a connection. Nothing is run before `provision`. What `config` (the text of reflexdb.yaml) says is checked against the schema by each build.",
    body: {
      schema: InstanceCreate,
      permit: permitNamespace,
      check: checkedBy(InstanceCreate, (body) => createViolations(body, scheduleViolations), partly),
      example: INSTANCE_BODY,
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Registered",
        schema: InstanceView,
        example: INSTANCE,
        headers: { Location: "Address of the instance" },
      },
    },
    problems: ["namespace_not_permitted", "name_taken"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const id = await idForCreation(ask.env, "instance", mutation);
      const { name, namespace, connection_id, schema, region } = ask.body;
      const identity = { id, name, namespace, connection_id, schema, region, created_at: Date.now() };
      const answer = unwrap(
        await call(
          () => remote(ask.env.INSTANCE, id),
          (instance) =>
            instance.create({
              identity,
              spec: specOf(ask.body),
              mutation,
              mayCreateNamespace: mayCreateNamespace(ask.principal, namespace),
            }),
        ),
      );
      return resource(answer, { location: `${ask.prefix}/instances/${id}` });
    },
  }),
  route({
    method: "GET",
    path: "/instances",
    access: "instances:read",
    group: "Instances",
    summary: "List instances",
    description: "Newest first. Filters of one kind are alternatives.",
    query: z.object({
      namespace: several(z.string()),
      name: several(z.string()),
      status: several(InstanceStatus),
      connection_id: ConnectionId.optional(),
      limit: limit(1000, 100),
      cursor: InstanceId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(InstanceView),
        example: [INSTANCE],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => {
      const { query } = ask;
      return resourcesPage(ask, "instance", {
        names: query.name,
        statuses: query.status,
        types: query.connection_id === undefined ? [] : [query.connection_id],
      });
    },
  }),
  route({
    method: "GET",
    path: "/instances/:id",
    access: "instances:read",
    group: "Instances",
    summary: "Read an instance",
    description: "`allowedActions` is the whole matrix of actions for its present status and goal.",
    params: INSTANCE_PARAMS,
    answers: {
      200: { description: "The instance", schema: InstanceView, example: INSTANCE },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) => {
      const reply = await call(instanceStub(ask), (instance) => instance.read(ask.principal.namespaces));
      return conditional(ask.request, unwrap(reply));
    },
  }),
  route({
    method: "PATCH",
    path: "/instances/:id",
    access: "instances:write",
    group: "Instances",
    summary: "Change what is stored of an instance",
    description:
      "Nothing that runs changes by it: `pending_changes` then says what differs. `reconfigure` applies settings, `rebuild` applies `config`; `pause_schedule` and `idle_pause` hold at once. The size is changed by `resize`.",
    params: INSTANCE_PARAMS,
    body: {
      schema: InstancePatch,
      check: checkedBy(InstancePatch, (body) => patchViolations(body, scheduleViolations), partly),
      example: { sync_interval: 5, idle_pause: "30m" },
    },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "As it is now", schema: InstanceView, example: INSTANCE } },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      const reply = await call(instanceStub(ask), (instance) => instance.patch(ask.body, mutation, namespaces));
      return resource(unwrap(reply));
    },
  }),
  route({
    method: "GET",
    path: "/instances/:id/events",
    access: "instances:read",
    group: "Instances",
    summary: "Events of an instance",
    params: INSTANCE_PARAMS,
    query: EventQuery,
    answers: EVENT_ANSWERS,
    handle: async (ask) => {
      const { namespaces } = ask.principal;
      const { level, limit: most, after } = ask.query;
      const stub = instanceStub(ask);
      if (wantsStream(ask.request)) {
        return journalStream(startOf(ask.request, after), level, (seq, waitMs) =>
          call(stub, (instance) => instance.follow(namespaces, seq, waitMs)),
        );
      }
      const events = unwrap(await call(stub, (instance) => instance.events(namespaces, level ?? null, most)));
      return jsonText(`[${events.join(",")}]`);
    },
  }),
];
