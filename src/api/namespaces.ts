import { z } from "zod";
import { AuditEntry } from "../../contract/event.ts";
import { ID_PREFIX, NamespaceId } from "../../contract/id.ts";
import { Name } from "../../contract/manifest.ts";
import { DEFAULT_NAMESPACE, NamespaceCreate, NamespaceView, namespaceViolations } from "../../contract/namespace.ts";
import { permits } from "../../contract/scope.ts";
import { shardOf } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import { conditional, jsonText, resource } from "../answer.ts";
import { AUDIT_ENTRY, NAMESPACE } from "../example.ts";
import { listRows, shardsOf, visibleNamespaces } from "../listing.ts";
import { checkedBy, foreignNamespace, inNamespace, namespaceOf } from "../namespaced.ts";
import { fail, unwrap } from "../problem.ts";
import { limit } from "../query.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";

const byName = { name: Name };
const PAGE = 1000;

/** Ring reads a namespace by its id and deletes it by its name; each is taken in both places. */
const idOrName = { id: z.union([NamespaceId, Name]) };
const named = async (ask: Ask): Promise<string> => {
  const id = ask.params.id as string;
  if (id.startsWith(`${ID_PREFIX.namespace}_`)) return namespaceOf(ask, "namespace");
  if (!permits(ask.principal, id)) unknown(id);
  return id;
};

const unknown = (name: string): never => fail("not_found", `The namespace '${name}' does not exist.`);

export const NAMESPACES = [
  route({
    method: "POST",
    path: "/namespaces",
    access: "namespaces:write",
    group: "Namespaces",
    summary: "Make a namespace",
    description: "The first manifest that is applied to a namespace makes it too, if its token may.",
    body: {
      schema: NamespaceCreate,
      permit: (body, principal) => {
        const name = (body as { name?: unknown } | null)?.name;
        if (typeof name === "string" && !permits(principal, name)) foreignNamespace(name);
      },
      check: checkedBy(NamespaceCreate, namespaceViolations),
      example: { name: "shop" },
    },
    mutation: ["idempotency"],
    answers: { 201: { description: "Made", schema: NamespaceView, example: NAMESPACE } },
    problems: ["namespace_not_permitted", "name_taken"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const answer = unwrap(
        await inNamespace(ask.env, ask.body.name, (namespace) => namespace.createNamespace(mutation)),
      );
      const { id } = JSON.parse(answer.body) as NamespaceView;
      return resource(answer, { location: `${ask.prefix}/namespaces/${id}` });
    },
  }),
  route({
    method: "GET",
    path: "/namespaces",
    access: "namespaces:read",
    group: "Namespaces",
    summary: "List namespaces",
    description: "All that the token may see, by name.",
    answers: { 200: { description: "All of them", schema: z.array(NamespaceView), example: [NAMESPACE] } },
    handle: async (ask) => jsonText(`[${(await all(ask)).map((view) => JSON.stringify(view)).join(",")}]`),
  }),
  route({
    method: "GET",
    path: "/namespaces/:id",
    access: "namespaces:read",
    group: "Namespaces",
    summary: "Read a namespace",
    description: "By its id or its name.",
    params: idOrName,
    answers: {
      200: { description: "The namespace", schema: NamespaceView, example: NAMESPACE },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) => {
      const name = await named(ask);
      return conditional(
        ask.request,
        unwrap(await inNamespace(ask.env, name, (namespace) => namespace.readNamespace())),
      );
    },
  }),
  route({
    method: "DELETE",
    path: "/namespaces/:id",
    access: "namespaces:write",
    group: "Namespaces",
    summary: "Delete a namespace",
    description:
      "By its name or its id. Refused while deployments, schedules, configs or secrets are in it; entries of volumes go with it. What was done in it stays in the audit trail.",
    params: idOrName,
    mutation: ["idempotency"],
    answers: { 204: { description: "Deleted" } },
    problems: ["namespace_not_empty", "action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const name = await named(ask);
      return resource(unwrap(await inNamespace(ask.env, name, (namespace) => namespace.deleteNamespace(mutation))));
    },
  }),
  route({
    method: "GET",
    path: "/namespaces/:name/audit",
    access: "namespaces:read",
    group: "Namespaces",
    summary: "Who did what in a namespace",
    description:
      "Newest first. Of a namespace that does not exist: what was done while it did. `GET /audit` has more filters.",
    params: byName,
    query: z.object({ limit: limit(1000, 100) }),
    answers: {
      200: {
        description: "The entries, with Ring's names for their parts added",
        schema: z.array(AuditEntry.extend({ user_id: z.string(), target_type: z.string(), target_name: z.string() })),
        example: [
          {
            ...AUDIT_ENTRY,
            user_id: AUDIT_ENTRY.actor,
            target_type: AUDIT_ENTRY.resource_kind,
            target_name: AUDIT_ENTRY.resource_name,
          },
        ],
      },
    },
    handle: async (ask) => {
      const name = ask.params.name as string;
      if (!permits(ask.principal, name)) return jsonText("[]");
      const { bodies } = await call(
        () => remote(ask.env.INDEX, shardOf(name)),
        (index) =>
          index.audits({ namespaces: [name], resource_id: null, actor: null, before: null, limit: ask.query.limit }),
      );
      const entries = bodies.map((body) => {
        const entry = JSON.parse(body) as AuditEntry;
        return {
          ...entry,
          user_id: entry.actor,
          target_type: entry.resource_kind,
          target_name: entry.resource_name,
        };
      });
      return jsonText(JSON.stringify(entries));
    },
  }),
];

/** Every namespace that the token may see; the one that is always there is made by the first look at it. */
async function all(ask: Ask): Promise<NamespaceView[]> {
  const namespaces = visibleNamespaces([], ask.principal.namespaces) as string[];
  const views: NamespaceView[] = [];
  let before: string | null = null;
  do {
    const page: { bodies: string[]; next: string | null } = await listRows(ask.env, shardsOf(namespaces), {
      kind: "namespace",
      namespaces,
      names: [],
      statuses: [],
      types: [],
      labels: [],
      before,
      limit: PAGE,
    });
    views.push(...page.bodies.map((body) => JSON.parse(body) as NamespaceView));
    before = page.next;
  } while (before !== null);
  if (permits(ask.principal, DEFAULT_NAMESPACE) && !views.some(({ name }) => name === DEFAULT_NAMESPACE)) {
    const answer = unwrap(await inNamespace(ask.env, DEFAULT_NAMESPACE, (namespace) => namespace.readNamespace()));
    views.push(JSON.parse(answer.body) as NamespaceView);
  }
  return views.sort((a, b) => (a.name < b.name ? -1 : 1));
}
