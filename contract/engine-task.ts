import { z } from "zod";
import { EngineOrders } from "./instance-report.ts";
import { InstanceSettings } from "./instance-settings.ts";
import { SOURCE_KINDS, TLS_MODES } from "./source-kind.ts";

/** The source as a host reaches it; the password comes apart from it. */
export const SourceAddress = z.object({
  kind: z.enum(SOURCE_KINDS),
  host: z.string(),
  port: z.int(),
  user: z.string(),
  /** PostgreSQL: which one; null: `postgres`. */
  database: z.string().nullable(),
  tls: z.enum(TLS_MODES),
  ca: z.string().nullable().describe("PEM; null: the host's own roots"),
});
export type SourceAddress = z.infer<typeof SourceAddress>;

const operation = z.object({ id: z.string(), revision: z.int().positive() });
const of = {
  operation,
  source: SourceAddress,
  min_sync_interval: z.int().optional().describe("Seconds: the connection permits no shorter one"),
};

/** What one of an instance's workloads is to do; in its environment, as JSON. */
export const EngineTask = z.discriminatedUnion("do", [
  /** Try the source out, and say what was found; of a build that is to follow, whether its configuration fits too. */
  z.object({
    ...of,
    do: z.literal("test"),
    schemas: z.array(z.string()).describe("Those that are looked into; none: only the server is"),
    config: z.string().nullable(),
  }),
  /** Introspect the schema, and make an engine for it. */
  z.object({
    ...of,
    do: z.literal("build"),
    build_id: z.string(),
    schema: z.string(),
    config: z.string().nullable().describe("The text of reflexdb.yaml"),
  }),
  /** Load, follow the source and answer queries, on the port in `PORT`. */
  z.object({
    ...of,
    do: z.literal("serve"),
    instance_id: z.string(),
    build_id: z.string(),
    schema: z.string(),
    /** What to run. A host that does not have it gets it from the control plane, unless it is not kept there. */
    artifact: z.object({ hash: z.string(), kept: z.boolean() }),
    settings: InstanceSettings,
    orders: EngineOrders,
  }),
  /** Take away what engines of an instance, of which none runs any more, have left at its source. */
  z.object({ ...of, do: z.literal("release"), instance_id: z.string() }),
]);
export type EngineTask = z.infer<typeof EngineTask>;

/** The program of all of them, on the host. With `tell` and an `EngineOrders` as JSON it passes orders to the engine in whose environment it is run. */
export const ENGINE_PROGRAM = "lamplighter-engine";
