import { z } from "zod";
import {
  DatabaseCreate,
  DatabasePatch,
  DatabaseRestore,
  DatabaseStatus,
  DatabaseView,
  DISABLED_ACTIONS,
  DISABLED_REASON,
  type DisabledAction,
  LeaseView,
  ListedDatabase,
  type RestoredFrom,
} from "../../contract/database.ts";
import { DatabaseId } from "../../contract/id.ts";
import type { Answer } from "../../contract/request.ts";
import type { DatabaseDraft } from "../../objects/database/creation.ts";
import { type KeeperSettings, keepingOf } from "../../objects/database/keepers.ts";
import { remote } from "../../objects/remote.ts";
import { sealingKeys } from "../../objects/sealing.ts";
import { conditional, etag, jsonText, resource } from "../answer.ts";
import { idForCreation } from "../creation.ts";
import { DATABASE, DATABASE_BODY, LISTED_DATABASE } from "../database-example.ts";
import { roleOf } from "../database-password.ts";
import { journalStream, startOf, wantsStream } from "../event-stream.ts";
import { resourcesPage } from "../listing.ts";
import { marked } from "../mint.ts";
import { preferredWait } from "../mutation.ts";
import { inNamespace, mayCreateNamespace, permitNamespace } from "../namespaced.ts";
import { fail, unwrap } from "../problem.ts";
import { limit, several } from "../query.ts";
import { type Ask, type Route, route } from "../route.ts";
import { call } from "../stub.ts";
import { Shown, withNewPassword } from "./database-credentials.ts";
import { restoreTarget, whyNotRestorable } from "./database-restore.ts";
import { databaseStub, params } from "./database-stub.ts";
import { EVENT_ANSWERS, EventQuery } from "./deployment-events.ts";
import { labelFilter } from "./deployments.ts";

const Created = DatabaseView.extend(Shown.shape);
const CREATED = {
  ...DATABASE,
  password: "…",
  dsn: "postgres://u_01k9…:…@<gateway>/shop?sslmode=require",
};

type Wanted = Omit<DatabaseCreate, "placement"> & { placement: Record<string, string> };

/** Makes a database, and answers it with its password: the only time that it is shown, but for the same request sent again. */
async function create(ask: Ask, wanted: Wanted, restored_from: RestoredFrom | null): Promise<Response> {
  unwrap(await sealingKeys(ask.env));
  unwrap(keepingOf(ask.env as KeeperSettings));
  const mutation = await ask.mutation();
  const { name, namespace, placement, ...settings } = wanted;
  const id = await marked(ask.env, await idForCreation(ask.env, "database", mutation));
  const made = await withNewPassword(ask, id, name, mutation, async ({ scram, credentials, sealed }) => {
    const identity = { id, namespace, name, role: roleOf(id), created_at: Date.now(), placement, restored_from };
    const draft: DatabaseDraft = { identity, settings, scram, verifier: credentials.verifier, sealed };
    const mayCreate = mayCreateNamespace(ask.principal, namespace);
    return unwrap(await inNamespace(ask.env, namespace, (object) => object.createDatabase(draft, mutation, mayCreate)));
  });
  const seconds = preferredWait(ask.request);
  let { view } = made;
  if (seconds !== null) view = { ...view, ...(await settled(ask, id, seconds)) };
  const headers = {
    etag: etag(made.answer.revision),
    location: `${ask.prefix}/databases/${id}`,
    "cache-control": "no-store",
  };
  return jsonText(JSON.stringify({ ...view, ...made.shown }), headers, 201);
}

/** The database once it is neither being made nor on its way, or after the wait. */
async function settled(ask: Ask, id: string, seconds: number): Promise<Record<string, unknown>> {
  const reply = await call(
    () => remote(ask.env.DATABASE, id),
    (database) => database.waitFor([], ["stopped", "ready", "error"], seconds * 1000),
  );
  return JSON.parse(unwrap<Answer>(reply).body) as Record<string, unknown>;
}

const disabled = (action: DisabledAction): Route =>
  route({
    method: "POST",
    path: `/databases/:id/${action}`,
    access: "databases:write",
    group: "Databases",
    summary: `Not done by hand: ${action}`,
    description: `Always answers 409 \`operation_disabled\`: ${DISABLED_REASON}.`,
    params,
    answers: {},
    problems: ["operation_disabled", "not_found"],
    handle: async (ask) => {
      const reply = await call(databaseStub(ask), (database) => database.read(ask.principal.namespaces));
      const { state, allowedActions } = JSON.parse(unwrap(reply).body) as DatabaseView;
      return fail("operation_disabled", `It is not possible to ${action} a database: ${DISABLED_REASON}.`, {
        more: { resource_status: state, allowedActions },
      });
    },
  });

export const DATABASES = [
  route({
    method: "POST",
    path: "/databases",
    access: "databases:write",
    group: "Databases",
    summary: "Make a database",
    description:
      "A record and a place for its log; nothing is started. The first connection through a gateway starts PostgreSQL, and after `idle_timeout` without any it is stopped. The answer is the only one that carries the password (but for the same request again with the same Idempotency-Key).",
    body: { schema: DatabaseCreate, permit: permitNamespace, example: DATABASE_BODY },
    mutation: ["idempotency", "wait"],
    answers: {
      201: {
        description: "Made; with `Prefer: wait`, once it can be connected to",
        schema: Created,
        example: CREATED,
        headers: { Location: "Address of the database" },
      },
    },
    problems: ["namespace_not_permitted", "name_taken", "secret_key_missing", "keepers_misconfigured"],
    handle: (ask) => {
      const { placement, ...rest } = ask.body;
      return create(ask as Ask, { ...rest, placement: placement.labels }, null);
    },
  }),
  route({
    method: "GET",
    path: "/databases",
    access: "databases:read",
    group: "Databases",
    summary: "List databases",
    description:
      "Newest first. Filters of one kind are alternatives. What goes on without a change of state, connections above all, is not in lists: read the database.",
    query: z.object({
      namespace: several(z.string()),
      name: several(z.string()),
      status: several(DatabaseStatus),
      state: several(DatabaseStatus).describe("The same as `status`"),
      label: several(z.string()).describe("`key` or `key=value`"),
      limit: limit(1000, 100),
      cursor: DatabaseId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(ListedDatabase),
        example: [LISTED_DATABASE],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => {
      const { query } = ask;
      return resourcesPage(ask, "database", {
        names: query.name,
        statuses: [...query.status, ...query.state],
        labels: query.label.map(labelFilter),
      });
    },
  }),
  route({
    method: "GET",
    path: "/databases/:id",
    access: "databases:read",
    group: "Databases",
    summary: "Read a database",
    description: "With the connections that it has now. Reading it wakes nothing.",
    params,
    answers: {
      200: { description: "The database", schema: DatabaseView, example: DATABASE },
      304: { description: "`If-None-Match` names its revision; connections come and go without another one" },
    },
    handle: async (ask) => {
      const reply = await call(databaseStub(ask), (database) => database.read(ask.principal.namespaces));
      return conditional(ask.request, unwrap(reply));
    },
  }),
  route({
    method: "PATCH",
    path: "/databases/:id",
    access: "databases:write",
    group: "Databases",
    summary: "Change a database",
    description: "What is left out stays. Another profile is that of the next start.",
    params,
    body: { schema: DatabasePatch, example: { idle_timeout: 900 } },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "The database", schema: DatabaseView, example: DATABASE } },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      return resource(
        unwrap(await call(databaseStub(ask), (database) => database.update(ask.body, mutation, namespaces))),
      );
    },
  }),
  route({
    method: "DELETE",
    path: "/databases/:id",
    access: "databases:write",
    group: "Databases",
    summary: "Delete a database",
    description:
      "With everything in it, and everything that is kept of it. Connections end. It stays in `deleting` until every host that has a copy has removed it.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "It is being deleted, or was already" } },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      return resource(unwrap(await call(databaseStub(ask), (database) => database.delete(mutation, namespaces))));
    },
  }),
  route({
    method: "POST",
    path: "/databases/:id/restore",
    access: "databases:write",
    group: "Databases",
    summary: "Make a database as another one was",
    description:
      "A new database, in the same namespace, of the same size and placement, with what the other one held at a moment, from its `restorable_since` on. The other one stays as it is. It is started at once, so that the moment is not lost. One that cannot be made after all is in `error` with `not_restorable`.",
    params,
    body: { schema: DatabaseRestore, example: { name: "shop_yesterday", time: "2026-11-20T18:00:00Z" } },
    mutation: ["idempotency", "wait"],
    answers: { 201: { description: "The new database", schema: Created, example: CREATED } },
    problems: ["action_not_allowed", "name_taken", "secret_key_missing", "keepers_misconfigured"],
    handle: async (ask) => {
      const reply = await call(databaseStub(ask), (database) => database.read(ask.principal.namespaces));
      const source = JSON.parse(unwrap(reply).body) as DatabaseView;
      const why = whyNotRestorable(source);
      if (why !== null) fail("action_not_allowed", why, { more: { resource_status: source.state } });
      const target = restoreTarget(ask.body, source, Date.now());
      const { namespace, idle_timeout, labels, allowed_addresses, target_profile: profile } = source;
      const placement = source.placement.labels;
      const wanted = { name: ask.body.name, namespace, profile, idle_timeout, labels, allowed_addresses, placement };
      return create(ask as Ask, wanted, { database: source.id, target });
    },
  }),
  route({
    method: "POST",
    path: "/databases/:id/accept-loss",
    access: "databases:write",
    group: "Databases",
    summary: "Start a database with what there is",
    description:
      "For one that is in `error` with `not_restorable`: commits that were acknowledged are nowhere to be found (a keeper has lost its disk, and the host too). The next connection starts it with what is left. There is no way back. After any other failure it is refused: a host or a keeper that comes back may have them yet.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "The database", schema: DatabaseView, example: DATABASE } },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      return resource(unwrap(await call(databaseStub(ask), (database) => database.acceptLoss(mutation, namespaces))));
    },
  }),
  ...DISABLED_ACTIONS.map(disabled),
  route({
    method: "GET",
    path: "/databases/:id/leases",
    access: "databases:read",
    group: "Databases",
    summary: "Who uses a database",
    description: "The gateways that hold a lease of it, and the first few of their clients: why it is awake.",
    params,
    answers: { 200: { description: "The leases", schema: z.array(LeaseView), example: DATABASE.awake_because } },
    handle: async (ask) => {
      const reply = await call(databaseStub(ask), (database) => database.leases(ask.principal.namespaces));
      return jsonText(unwrap(reply));
    },
  }),
  route({
    method: "GET",
    path: "/databases/:id/explain",
    access: "databases:read",
    group: "Databases",
    summary: "Why it is as it is",
    description:
      "Why it is awake or asleep, what is waited for, which deadline comes next, and what could not be delivered yet.",
    params,
    answers: {
      200: {
        description: "The explanation",
        schema: z.looseObject({
          id: z.string(),
          state: DatabaseStatus,
          reason: z.string(),
          message: z.string(),
          awake_because: z.array(LeaseView),
          asleep_because: z.string().nullable().describe("Why it was stopped, or what ended its writer"),
          asleep_since: z.string().nullable(),
          next_deadline_at: z.string().nullable(),
        }),
      },
    },
    handle: async (ask) =>
      jsonText(unwrap(await call(databaseStub(ask), (database) => database.explain(ask.principal.namespaces)))),
  }),
  route({
    method: "GET",
    path: "/databases/:id/events",
    access: "databases:read",
    group: "Databases",
    summary: "Events of a database",
    params,
    query: EventQuery,
    answers: EVENT_ANSWERS,
    handle: async (ask) => {
      const { namespaces } = ask.principal;
      const { level, limit, after } = ask.query;
      const stub = databaseStub(ask);
      if (wantsStream(ask.request)) {
        return journalStream(startOf(ask.request, after), level, (seq, waitMs) =>
          call(stub, (database) => database.follow(namespaces, seq, waitMs)),
        );
      }
      const events = unwrap(await call(stub, (database) => database.events(namespaces, level ?? null, limit)));
      return jsonText(`[${events.join(",")}]`);
    },
  }),
];
