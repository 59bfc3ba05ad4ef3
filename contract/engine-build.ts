import { z } from "zod";
import { SourceConnection, SyncMode } from "./engine.ts";
import { ConfigProblem } from "./reflexdb-config.ts";
import { SourceFinding } from "./source-schema.ts";

/**
 * The program that tests sources and builds engines, `node engine/main.ts <verb> --request <file>`. It writes what it does to stderr, a JSON
 * object a line, and one BuilderAnswer to stdout; it exits with 0 when `ok`.
 */
export const BuilderRequest = z.object({
  source: SourceConnection,
  /** The text of `reflexdb.yaml`; null: everything. */
  config: z.string().nullable().default(null),
  /** Seconds: what `reflexdb.yaml` may not go below. */
  minSyncInterval: z.int().default(1),
  /** Where `<id>.mjs` and `<id>.json` go; `build` wants it. */
  out: z.string().optional(),
});
export type BuilderRequest = z.infer<typeof BuilderRequest>;

export const ConnectionTest = z.object({
  latency_ms: z.number(),
  version: z.string(),
  /** Data and indexes; null where the user may not see it. */
  bytes: z.number().nullable(),
  rows: z.number().nullable(),
  schemas: z.array(z.string()),
  /** `mode`: how changes would be followed. */
  replication: z.object({ mode: SyncMode, findings: z.array(z.object({ code: z.string(), message: z.string() })) }),
  findings: z.array(SourceFinding),
});
export type ConnectionTest = z.infer<typeof ConnectionTest>;

export const BuilderAnswer = z.discriminatedUnion("ok", [
  z.object({
    ok: z.literal(true),
    test: ConnectionTest.optional(),
    build: z.object({ id: z.string(), path: z.string(), bytes: z.int() }).optional(),
    findings: z.array(SourceFinding),
  }),
  z.object({ ok: z.literal(false), code: z.string(), message: z.string(), problems: z.array(ConfigProblem) }),
]);
export type BuilderAnswer = z.infer<typeof BuilderAnswer>;
