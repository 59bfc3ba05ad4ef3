import { z } from "zod";
import {
  ConnectionCreate,
  ConnectionPatch,
  ConnectionStatus,
  ConnectionTrial,
  ConnectionView,
  connectionSpec,
  connectionViolations,
  TestResult,
  trialSpec,
  trialViolations,
} from "../../contract/connection.ts";
import { ConnectionId, newId } from "../../contract/id.ts";
import { remote } from "../../objects/remote.ts";
import { conditional, jsonText, resource } from "../answer.ts";
import { idForCreation } from "../creation.ts";
import { journalStream, startOf, wantsStream } from "../event-stream.ts";
import { CONNECTION, CONNECTION_BODY, CONNECTION_TRIAL, TEST_RESULT } from "../instance-example.ts";
import { resourcesPage } from "../listing.ts";
import { preferredWait } from "../mutation.ts";
import { checkedBy, mayCreateNamespace, permitNamespace } from "../namespaced.ts";
import { unwrap } from "../problem.ts";
import { limit, several } from "../query.ts";
import { type Ask, type Route, route } from "../route.ts";
import { call } from "../stub.ts";
import { EVENT_ANSWERS, EventQuery } from "./deployment-events.ts";

const params = { id: ConnectionId };
const stub = (ask: Ask) => () => remote(ask.env.CONNECTION, ask.params.id as string);
/** How long a test is waited for when the request does not say, s. */
const USUAL_WAIT_S = 30;

const test = (path: string): Route =>
  route({
    method: "POST",
    path,
    access: "connections:write",
    group: "Connections",
    summary: "Test a connection",
    description:
      "From a host, as an engine would connect: whether it can be reached and read, how fast it answers, how large it is, and what it lacks for replication, each finding with the statement that mends it. Waits up to 30 s, or as long as `Prefer: wait=N` says.",
    params,
    mutation: ["idempotency", "if-match", "wait"],
    answers: {
      200: { description: "Tested: `last_test` has the result", schema: ConnectionView, example: CONNECTION },
      202: { description: "Still being tested", schema: ConnectionView },
    },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const wait = (preferredWait(ask.request) ?? USUAL_WAIT_S) * 1000;
      const { namespaces } = ask.principal;
      return resource(unwrap(await call(stub(ask), (connection) => connection.testSource(mutation, namespaces, wait))));
    },
  });

export const CONNECTIONS = [
  route({
    method: "POST",
    path: "/connections",
    access: "connections:write",
    group: "Connections",
    summary: "Make a connection",
    description: "How instances reach a source. The password is sealed before it is stored, and never answered.",
    body: {
      schema: ConnectionCreate,
      permit: permitNamespace,
      check: checkedBy(ConnectionCreate, connectionViolations),
      example: CONNECTION_BODY,
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Made",
        schema: ConnectionView,
        example: CONNECTION,
        headers: { Location: "Address of the connection" },
      },
    },
    problems: ["namespace_not_permitted", "name_taken", "secret_key_missing"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const id = await idForCreation(ask.env, "connection", mutation);
      const { name, namespace, database_id, password = "" } = ask.body;
      const answer = unwrap(
        await call(
          () => remote(ask.env.CONNECTION, id),
          (connection) =>
            connection.create({
              identity: { id, name, namespace, database_id, created_at: Date.now() },
              spec: connectionSpec(ask.body),
              password,
              mutation,
              mayCreateNamespace: mayCreateNamespace(ask.principal, namespace),
            }),
        ),
      );
      return resource(answer, { location: `${ask.prefix}/connections/${id}` });
    },
  }),
  route({
    method: "GET",
    path: "/connections",
    access: "connections:read",
    group: "Connections",
    summary: "List connections",
    description: "Newest first, without their passwords. Filters of one kind are alternatives.",
    query: z.object({
      namespace: several(z.string()),
      name: several(z.string()),
      status: several(ConnectionStatus),
      limit: limit(1000, 100),
      cursor: ConnectionId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(ConnectionView),
        example: [CONNECTION],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => {
      const { query } = ask;
      return resourcesPage(ask, "connection", { names: query.name, statuses: query.status });
    },
  }),
  route({
    method: "GET",
    path: "/connections/:id",
    access: "connections:read",
    group: "Connections",
    summary: "Read a connection",
    description: "Everything about it but its password.",
    params,
    answers: {
      200: { description: "The connection", schema: ConnectionView, example: CONNECTION },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) => {
      const reply = await call(stub(ask), (connection) => connection.read(ask.principal.namespaces));
      return conditional(ask.request, unwrap(reply));
    },
  }),
  route({
    method: "PATCH",
    path: "/connections/:id",
    access: "connections:write",
    group: "Connections",
    summary: "Change a connection",
    description:
      "Engines that run keep what they were started with; the next provision, rebuild or resume uses the new one. A schema that an instance reads cannot go.",
    params,
    body: { schema: ConnectionPatch, example: { password: "…" } },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "As it is now", schema: ConnectionView, example: CONNECTION } },
    problems: ["connection_in_use", "secret_key_missing"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      const reply = await call(stub(ask), (connection) => connection.update(ask.body, mutation, namespaces));
      return resource(unwrap(reply));
    },
  }),
  route({
    method: "DELETE",
    path: "/connections/:id",
    access: "connections:write",
    group: "Connections",
    summary: "Delete a connection",
    description: "Refused while instances read through it.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Deleted" } },
    problems: ["connection_in_use"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      return resource(unwrap(await call(stub(ask), (connection) => connection.delete(mutation, namespaces))));
    },
  }),
  route({
    method: "POST",
    path: "/connections/test",
    access: "connections:write",
    group: "Connections",
    summary: "Test a source before it is a connection",
    description:
      "As the test of a connection, from a host, of what the body says. The answer is the result, within 30 s, or as long as `Prefer: wait=N` says. Nothing of it is kept: the password is sealed while the test lasts, and then gone; the audit has the address and who asked. An `Idempotency-Key` changes nothing: the same request tests again.",
    body: {
      schema: ConnectionTrial,
      permit: permitNamespace,
      check: checkedBy(ConnectionTrial, trialViolations),
      example: CONNECTION_TRIAL,
    },
    mutation: ["wait"],
    answers: { 200: { description: "Tested, whatever came of it", schema: TestResult, example: TEST_RESULT } },
    problems: ["namespace_not_permitted", "secret_key_missing"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const id = newId("connection", Date.now());
      const wait = Math.max(1, preferredWait(ask.request) ?? USUAL_WAIT_S) * 1000;
      const { namespace, password } = ask.body;
      const unsaved = { id, namespace, spec: trialSpec(ask.body), password, mutation };
      const tested = await call(
        () => remote(ask.env.CONNECTION, id),
        (connection) => connection.testUnsaved(unsaved, wait),
      );
      return jsonText(JSON.stringify(unwrap(tested)));
    },
  }),
  test("/connections/:id/test"),
  test("/connections/:id/test-connection"),
  route({
    method: "GET",
    path: "/connections/:id/events",
    access: "connections:read",
    group: "Connections",
    summary: "Events of a connection",
    params,
    query: EventQuery,
    answers: EVENT_ANSWERS,
    handle: async (ask) => {
      const { namespaces } = ask.principal;
      const { level, limit: most, after } = ask.query;
      if (wantsStream(ask.request)) {
        return journalStream(startOf(ask.request, after), level, (seq, waitMs) =>
          call(stub(ask), (connection) => connection.follow(namespaces, seq, waitMs)),
        );
      }
      const events = unwrap(await call(stub(ask), (connection) => connection.events(namespaces, level ?? null, most)));
      return jsonText(`[${events.join(",")}]`);
    },
  }),
];
