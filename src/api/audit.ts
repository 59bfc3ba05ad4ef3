import { z } from "zod";
import { AuditEntry } from "../../contract/event.ts";
import { ALL_NAMESPACE_SHARDS, CLUSTER_SHARD } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import { AUDIT_ENTRY } from "../example.ts";
import { merge, pageAnswer, shardsOf, visibleNamespaces } from "../listing.ts";
import { limit, several } from "../query.ts";
import { route } from "../route.ts";
import { call } from "../stub.ts";

export const AUDIT = [
  route({
    method: "GET",
    path: "/audit",
    access: "audit:read",
    group: "Audit",
    summary: "Who did what",
    description:
      "Every mutation of every resource, newest first, kept for 90 days. A token for some namespaces sees what was done in those.",
    query: z.object({
      namespace: several(z.string()),
      resource_id: z.string().optional(),
      actor: z.string().optional().describe("A token's id, `root`, or the name of a part of the system"),
      limit: limit(1000, 100),
      cursor: z
        .string()
        .regex(/^\d{4}-[0-9T:.-]+Z~[\x21-\x7e]{1,300}$/, "expected a cursor of this list")
        .optional()
        .describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(AuditEntry),
        example: [AUDIT_ENTRY],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => {
      const { query } = ask;
      const namespaces = visibleNamespaces(query.namespace, ask.principal.namespaces);
      if (namespaces === null) return pageAnswer(ask, { bodies: [], next: null });
      const shards = namespaces.length === 0 ? [...ALL_NAMESPACE_SHARDS, CLUSTER_SHARD] : shardsOf(namespaces);
      const wanted = { namespaces, resource_id: query.resource_id ?? null, actor: query.actor ?? null };
      return pageAnswer(
        ask,
        await merge(shards, query.limit, query.cursor ?? null, (shard, before, limit) =>
          call(
            () => remote(ask.env.INDEX, shard),
            (index) => index.audits({ ...wanted, before, limit }),
          ),
        ),
      );
    },
  }),
];
