import { z } from "zod";

/** A running engine on the host of a route. */
export const RouteTarget = z.object({ workload_id: z.string(), generation: z.int().positive(), port: z.int() });
export type RouteTarget = z.infer<typeof RouteTarget>;

/** Why queries are not answered, as callers are told. */
export const CLOSED_CODES = ["paused", "loading", "no_engine"] as const;

/**
 * Where the queries of an instance go: what the proxy of its host is told. It is the workload of the runtime `proxy`, so that it comes, changes and
 * goes like any other; what its keys are checked with is in the environment of that workload.
 */
export const Route = z.object({
  /** The engine that serves; null: none does. */
  target: RouteTarget.nullable(),
  /** The engine that is asked how far it is while none serves. */
  loading: RouteTarget.nullable(),
  /** What to answer while there is no target. `soon`: it will be there in a moment, so that whoever has a key is kept waiting for it. */
  closed: z.object({
    code: z.enum(CLOSED_CODES),
    detail: z.string(),
    retry_after_s: z.int().positive(),
    /** When its schedule brings it back, ms since 1970: callers are told to come then. */
    resumes_at: z.int().optional(),
    soon: z.boolean(),
  }),
  /** It is to be said when it is asked: it is paused when nobody does. */
  tells: z.boolean(),
  /** It is paused because nobody asked: a query with a key brings it back, and waits for that. */
  wakes: z.boolean(),
  /** Whoever waits shows one of these. */
  keys: z.array(z.object({ id: z.string(), expires_at: z.int().nullable() })),
});
export type Route = z.infer<typeof Route>;

/** A host's address and the id of an instance make its endpoint: one port for all of them. */
export const endpointUrl = (address: string, instanceId: string): string => `http://${address}/${instanceId}`;
