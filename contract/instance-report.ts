import { z } from "zod";
import { SourceStanding } from "./database-reader.ts";
import { EngineKey } from "./instance-key.ts";

/**
 * What the programs of an instance tell the control plane: the source test, the builder, the engine, and what tidies up after it. Each runs as a workload, and is told by its
 * environment where to POST what it has to say (`REPORT_ENV`). A report names the operation that it belongs to; one of an operation or a
 * generation that is over is refused with `stale_report`, and its program may stop reporting. The same report twice changes nothing.
 */
export const REPORT_ENV = {
  /** Where to POST: `/instances/<id>/reports`, below the control plane's address. Beside it, at `artifacts/<hash>`, are the artifacts that it keeps. */
  path: "LAMPLIGHTER_REPORT_PATH",
  /** Bearer token for it: good for this one generation of this one workload. */
  token: "LAMPLIGHTER_REPORT_TOKEN",
  /** The control plane's address, put there by the agent. */
  url: "LAMPLIGHTER_URL",
  /** What to do: an `EngineTask`, JSON. */
  task: "LAMPLIGHTER_ENGINE_TASK",
  /** Which workload it is, and which generation of it: said in each report. */
  workload: "LAMPLIGHTER_WORKLOAD_ID",
  generation: "LAMPLIGHTER_WORKLOAD_GENERATION",
  /** What the keys of its callers are checked with. */
  keySecret: "LAMPLIGHTER_ENGINE_KEY_SECRET",
  /** The source's password. */
  password: "LAMPLIGHTER_SOURCE_PASSWORD",
} as const;

const Code = z.string().max(100);
const Message = z.string().max(4000);

/** One thing that the test of a source found. `fix` is the exact statement that mends it. */
export const Finding = z.object({
  code: Code,
  severity: z.enum(["error", "warning"]),
  message: Message,
  fix: Message.nullable(),
});
export type Finding = z.infer<typeof Finding>;

/** What a source said when it was tested from a host. */
export const SourceTest = z.object({
  ok: z.boolean(),
  error: z.object({ code: Code, message: Message }).nullable(),
  server_version: z.string().max(200).nullable(),
  latency_ms: z.number().nonnegative().nullable(),
  estimated_bytes: z.number().nonnegative().nullable().describe("Data and indexes; null when that may not be read"),
  schemas: z.array(z.string()).describe("Those that the user sees, without the system's own"),
  replication: z
    .object({ mode: z.enum(["binlog", "logical", "poll"]), ready: z.boolean() })
    .describe("The best way of keeping up with it, and whether that would work as things are"),
  findings: z.array(Finding),
});
export type SourceTest = z.infer<typeof SourceTest>;

const failed = { ok: z.literal(false), code: Code, message: Message };

const Hash = z.string().regex(/^[0-9a-f]{64}$/, "expected a SHA-256 in lower-case hex");

/** The engine that was built. Its parts were sent before: the control plane keeps it, and any host gets it from there. */
export const Artifact = z.object({ hash: Hash, bytes: z.int().nonnegative() });

/** So many characters of an artifact go into one report at most. */
export const ARTIFACT_PART = 500_000;
/** An engine that is larger is not kept, and its build fails with `artifact_too_large`. */
export const ARTIFACT_BYTES = 80_000_000;

/**
 * `drifted`: the source's schema is no longer what the engine was built from; it answers what it had, and goes on by itself where that is undone.
 * `asleep`: the managed database that it follows sleeps; what it has is as of then, and it goes on once that wakes.
 */
export const REPLICATION_STATES = [
  "live",
  "polling",
  "paused",
  "reconnecting",
  "resyncing",
  "loading",
  "drifted",
  "asleep",
] as const;
export const ReplicationState = z.enum(REPLICATION_STATES);
export type ReplicationState = z.infer<typeof ReplicationState>;

/** What an engine says of itself; the newest replaces the one before. */
export const EngineVitals = z.object({
  replication: ReplicationState,
  message: Message.optional(),
  snapshot_age_ms: z.number().nonnegative().nullable(),
  swap_count: z.int().nonnegative(),
  row_counts: z.record(z.string(), z.int().nonnegative()),
  memory_bytes: z.number().nonnegative().nullable(),
  source_position: z.string().max(1000).nullable(),
  /** When it last answered a query, ms since 1970 by the host's clock; null: never. */
  last_query_at: z.int().nullable(),
});
export type EngineVitals = z.infer<typeof EngineVitals>;

export const ReportBody = z.discriminatedUnion("kind", [
  /** Any of them: how far it is. */
  z.object({
    kind: z.literal("progress"),
    message: Message,
    done: z.number().nullable().optional(),
    total: z.number().nullable().optional(),
  }),
  z.object({ kind: z.literal("tested"), test: SourceTest }),
  /** A part of the artifact, before `built` says that it is one. Parts are counted from 0. */
  z.object({
    kind: z.literal("artifact"),
    hash: Hash,
    part: z.int().nonnegative().max(199),
    parts: z.int().positive().max(200),
    text: z.string().max(ARTIFACT_PART),
  }),
  z.object({
    kind: z.literal("built"),
    result: z.discriminatedUnion("ok", [
      z.object({
        ok: z.literal(true),
        artifact: Artifact,
        schema_hash: z.string().max(100),
        /** Of a QuerySchema as JSON, whose parts were sent as those of an artifact: what keys are checked with. */
        query_schema: Hash.optional(),
        tables: z.int().nonnegative(),
        warnings: z.array(Message).max(1000).default([]),
      }),
      z.object({
        ...failed,
        violations: z
          .array(z.object({ message: Message, line: z.int().nullable(), column: z.int().nullable() }))
          .max(1000)
          .default([]),
      }),
    ]),
  }),
  /** The engine has loaded its snapshot, and it was verified: it may take over. */
  z.object({
    kind: z.literal("loaded"),
    rows: z.int().nonnegative(),
    tables: z.int().nonnegative(),
    /** How many tables were counted, and how many rows compared, with the source as it was when they were read. */
    verified: z.object({ tables: z.int().nonnegative(), samples: z.int().nonnegative() }).optional(),
  }),
  /**
   * What engines had left at the source is gone, but for what these statements take away: the user of the connection may not. An engine says it
   * as its last word, of itself and those before it.
   */
  z.object({ kind: z.literal("released"), left: z.array(Message).max(100) }),
  /** The engine cannot do what it should. */
  z.object({ kind: z.literal("failed"), code: Code, message: Message }),
  z.object({ kind: z.literal("vitals"), vitals: EngineVitals }),
  /** In what the source's schema is not what was built; nothing: it is. */
  z.object({
    kind: z.literal("drift"),
    schema_hash: z.string().max(100),
    changes: z.array(z.string().max(1000)).max(1000),
  }),
]);
export type ReportBody = z.infer<typeof ReportBody>;

export const Report = z.object({
  workload_id: z.string(),
  generation: z.int().positive(),
  /** Of the task: which operation, and which revision of it, it was started for. */
  operation: z.object({ id: z.string(), revision: z.int().positive() }),
  body: ReportBody,
});
export type Report = z.infer<typeof Report>;

/** What an engine should be, answered to every report of it, so that one that was told nothing hears it all the same. */
export const EngineOrders = z.object({
  replication: z.enum(["running", "paused"]),
  /** Rises with each full reload that is asked for. */
  reload: z.int().nonnegative(),
  /** Every key that is good; one that is not among them is no key any more. */
  keys: z.array(EngineKey),
  /** Of a managed database: where it can be read now. Others are where their address says. */
  source: SourceStanding.optional(),
});
export type EngineOrders = z.infer<typeof EngineOrders>;
export const ReportAnswer = z.object({ accepted: z.literal(true), orders: EngineOrders });
