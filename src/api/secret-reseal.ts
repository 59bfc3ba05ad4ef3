import { z } from "zod";
import type { Reply } from "../../contract/problem.ts";
import { ResealReport } from "../../contract/secret.ts";
import { CLUSTER_SHARD } from "../../objects/projection.ts";
import { remote } from "../../objects/remote.ts";
import type { Resealed } from "../../objects/reseal.ts";
import { sealingKeys } from "../../objects/sealing.ts";
import { jsonText } from "../answer.ts";
import { listRows, shardsOf } from "../listing.ts";
import { unwrap } from "../problem.ts";
import { type Ask, route } from "../route.ts";
import { call } from "../stub.ts";

/** How many objects one request asks: the platform gives a request so many calls. */
const PART = 200;
const AT_ONCE = 5;

/** What may hold something sealed: secrets are in namespaces, copies of them with the hosts' workloads, passwords in deployments and schedules, what webhooks sign with, passwords of connections, what keys of instances are made with. */
const KINDS = [
  ...(["namespace", "host", "deployment", "database", "schedule"] as const),
  ...(["webhook", "hook", "connection", "instance"] as const),
] as const;
type Kind = (typeof KINDS)[number];

export const SECRET_RESEAL = [
  route({
    method: "POST",
    path: "/secrets/reseal",
    access: "admin",
    group: "Secrets",
    summary: "Seal everything anew",
    description:
      "After a new key was put first in `SECRET_KEYS`: seals everything with it, a part with each request. When `next` is null and `left` was empty in every part, nothing needs the older keys any more, and they can be taken out. It can be repeated, and broken off, at any point.",
    query: z.object({
      cursor: z
        .string()
        .regex(
          /^(namespace|host|deployment|database|schedule|webhook|hook|connection|instance)~[a-z0-9_]{0,40}$/,
          "expected `next` of the part before",
        )
        .optional()
        .describe("`next` of the part before; the first part without it"),
    }),
    answers: {
      200: {
        description: "What came of this part",
        schema: ResealReport,
        example: { key: "k2", resealed: 12, left: {}, next: null },
      },
    },
    problems: ["secret_key_missing"],
    handle: async (ask) => {
      const { newest } = unwrap(await sealingKeys(ask.env));
      const [kind = "namespace", before = ""] = (ask.query.cursor ?? "").split("~") as [Kind | undefined, string?];
      const { names, next } = await targets(ask, kind || "namespace", before === "" ? null : before);
      const report: ResealReport = { key: newest, resealed: 0, left: {}, next };
      for (let at = 0; at < names.length; at += AT_ONCE) {
        const parts = await Promise.all(
          names.slice(at, at + AT_ONCE).map((name) => resealOne(ask, kind || "namespace", name)),
        );
        for (const { resealed, left } of parts) {
          report.resealed += resealed;
          for (const [id, count] of Object.entries(left)) report.left[id] = (report.left[id] ?? 0) + count;
        }
      }
      return jsonText(JSON.stringify(report));
    },
  }),
];

/** The names of the objects of this part, and where the next part begins. */
async function targets(ask: Ask, kind: Kind, before: string | null): Promise<{ names: string[]; next: string | null }> {
  const shards = kind === "host" || kind === "webhook" ? [CLUSTER_SHARD] : shardsOf([]);
  const page = await listRows(ask.env, shards, {
    kind,
    namespaces: [],
    names: [],
    statuses: [],
    types: [],
    labels: [],
    before,
    limit: PART,
  });
  const rows = page.bodies.map((body) => JSON.parse(body) as { id: string; name: string });
  const following = KINDS[KINDS.indexOf(kind) + 1];
  return {
    names: rows.map(({ id, name }) => (kind === "namespace" ? name : id)),
    next: page.next !== null ? `${kind}~${page.next}` : following === undefined ? null : `${following}~`,
  };
}

/** Each kind's stub is of a type of its own; all of them can do this. */
async function resealOne({ env }: Ask, kind: Kind, name: string): Promise<Resealed> {
  const stub = () => {
    switch (kind) {
      case "namespace":
        return remote(env.NAMESPACE, name);
      case "host":
        return remote(env.HOST, name);
      case "deployment":
        return remote(env.DEPLOYMENT, name);
      case "database":
        return remote(env.DATABASE, name);
      case "schedule":
        return remote(env.SCHEDULE, name);
      case "webhook":
        return remote(env.WEBHOOK, name);
      case "hook":
        return remote(env.HOOK, name);
      case "instance":
        return remote(env.INSTANCE, name);
      case "connection":
        return remote(env.CONNECTION, name);
    }
  };
  return unwrap(await call(stub, (object: { reseal(): Promise<Reply<Resealed>> }) => object.reseal()));
}
