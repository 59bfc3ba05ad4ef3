import { z } from "zod";
import { SourceKind } from "./source-schema.ts";

/**
 * The program that answers queries from memory: what it is started with, and what it says of itself. An artifact is started with
 * `node <nodeArguments> <id>.mjs --settings <file>`; secrets in the settings are read from that file only, never from arguments.
 *
 *   POST /query                    docs/design/engine.md has the language
 *   GET  /health                   EngineHealth with the admin token, its states alone without; 503 until it serves
 *   GET  /metrics                  Prometheus' text, with the admin token or a key
 *   GET  /openapi.json, /schema    with a key
 *   POST /pause-replication, /resume-replication, /reload      with the admin token
 *   PUT  /keys                     EngineKeys, with the admin token
 *   PUT  /source                   EngineSource, with the admin token: where a source that moves and sleeps is now
 */

/** `disable`: in the clear. `require`: encrypted, whoever answers. `verify-ca`, `verify-full`: the certificate is checked; the name too. */
export const TlsMode = z.enum(["disable", "require", "verify-ca", "verify-full"]);
export type TlsMode = z.infer<typeof TlsMode>;

export const SourceConnection = z.object({
  kind: SourceKind,
  host: z.string().min(1),
  port: z.int().min(1).max(65_535),
  user: z.string().min(1),
  password: z.string(),
  /** PostgreSQL: the database. MySQL and MariaDB: the schema is enough. */
  database: z.string().min(1).optional(),
  schema: z.string().min(1),
  tls: z.object({ mode: TlsMode, ca: z.string().optional() }).default({ mode: "disable" }),
});
export type SourceConnection = z.infer<typeof SourceConnection>;

export const SyncMode = z.enum(["poll", "binlog", "logical"]);
export type SyncMode = z.infer<typeof SyncMode>;

export const SyncSettings = z.object({
  /** Null: whatever the source can do, polling if it can do nothing else. */
  mode: SyncMode.nullable().default(null),
  /**
   * Seconds between two reads in poll mode; between two reloads of tables that cannot be followed row by row otherwise. Null: what `reflexdb.yaml`
   * says, and else 30, but at least `minInterval`.
   */
  interval: z.number().positive().max(3600).nullable().default(null),
  minInterval: z.number().nonnegative().default(0),
  /** `full`: everything is read again after the stream was cut for longer than it could be resumed. */
  reconnect: z.enum(["full", "resume"]).default("full"),
  /** Seconds between full reloads although the stream is live; null: what `reflexdb.yaml` says, and else never. */
  safetyNet: z.number().positive().nullable().default(null),
  /** MySQL and MariaDB: unlike that of any other replica of the source. */
  serverId: z.int().min(1).max(4_294_967_295).nullable().default(null),
  /** PostgreSQL: made if they are missing and the user may. */
  publication: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}$/)
    .nullable()
    .default(null),
});
export type SyncSettings = z.infer<typeof SyncSettings>;

/** What a key is for. A request shows `rxk_<id>.<hmac>`, HMAC-SHA-256 of the id under the engine's secret, in base64url. */
export const EngineKey = z.object({
  id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  /** API names of tables; null: all. */
  tables: z.array(z.string()).nullable().default(null),
  /** Per table, a filter that its rows must meet, whichever way they are reached. */
  rows: z.record(z.string(), z.string()).default({}),
  /** ms since 1970. */
  expires_at: z.int().nullable().default(null),
  /** Requests a second, with bursts of as many. */
  rate: z.number().positive().nullable().default(null),
});
export type EngineKey = z.infer<typeof EngineKey>;

export const EngineKeys = z.object({ secret: z.string().min(16), keys: z.array(EngineKey) });
export type EngineKeys = z.infer<typeof EngineKeys>;

/** Where the source is; null: it sleeps. */
export const EngineSource = z.object({ at: z.object({ host: z.string().min(1), port: z.int() }).nullable() });
export type EngineSource = z.infer<typeof EngineSource>;

/** How much memory an engine may take, MiB. */
export const ENGINE_SIZES = {
  nano: 512,
  small: 1024,
  medium: 2048,
  large: 8192,
  xlarge: 16_384,
  "2xlarge": 32_768,
} as const;
export const EngineSize = z.enum(["nano", "small", "medium", "large", "xlarge", "2xlarge"]);
export type EngineSize = z.infer<typeof EngineSize>;

/** What Node is started with: V8's own limit only ends the process, so it is beyond ours, which ends it with a reason. */
export const nodeArguments = (memoryMb: number): string[] => [`--max-old-space-size=${memoryMb + 512}`];

export const EngineSettings = z.object({
  instance: z.string().regex(/^[a-z0-9_-]{1,40}$/),
  /** Of the workload. Two engines of one instance, as during a rollout, differ in it. */
  generation: z.int().nonnegative().default(0),
  source: SourceConnection,
  sync: SyncSettings.prefault({}),
  listen: z.object({ host: z.string().default("127.0.0.1"), port: z.int().min(0).max(65_535) }),
  size: EngineSize.default("nano"),
  /** Instead of the size's. */
  memoryMb: z.int().min(16).optional(),
  logLevel: z.enum(["debug", "info", "warn", "error"]).default("info"),
  keys: EngineKeys,
  adminToken: z.string().min(16),
  /** The source moves, and sleeps when nobody needs it: whoever runs this engine says where it is (`PUT /source`). */
  moves: z.boolean().default(false),
  /** A folder where the rows are kept with their position, so that a restart need not read everything again; null: nothing is kept. */
  checkpoint: z
    .object({ folder: z.string(), everySeconds: z.number().positive().default(30) })
    .nullable()
    .default(null),
});
export type EngineSettings = z.infer<typeof EngineSettings>;

/** `loading`: the first rows are read. `serving`. `failed`: it ends, and says why. */
export const EngineState = z.enum(["loading", "serving", "failed"]);
export type EngineState = z.infer<typeof EngineState>;

/**
 * `live`: follows the source. `catching_up`: follows, and is behind. `reconnecting`: the stream was cut. `resyncing`: the stream could not go on
 * where it ended, and everything is read again; the old rows are answered until then. `paused`: as asked. `drifted`: the source's schema is no
 * longer what this engine was compiled from; it answers what it had until it is rebuilt. `asleep`: the source sleeps, and is not woken for this
 * engine; it answers what there was when it was last awake, and goes on from there.
 */
export const ReplicationState = z.enum([
  "starting",
  "live",
  "catching_up",
  "reconnecting",
  "resyncing",
  "paused",
  "drifted",
  "asleep",
]);
export type ReplicationState = z.infer<typeof ReplicationState>;

export const SchemaDrift = z.object({
  table: z.string(),
  column: z.string().nullable(),
  change: z.enum(["table_gone", "column_gone", "column_changed", "column_added", "table_added", "key_changed"]),
  /** Whether this engine cannot go on with it. */
  breaking: z.boolean(),
  detail: z.string(),
});
export type SchemaDrift = z.infer<typeof SchemaDrift>;

export const EngineHealth = z.object({
  state: EngineState,
  build: z.string(),
  replication: z.object({
    state: ReplicationState,
    mode: SyncMode.nullable(),
    /** Of the source, as far as is answered: a GTID list, a binlog file and offset, or an LSN. */
    position: z.string().nullable(),
    /** How long ago all that the source had was here. */
    age_ms: z.number().nullable(),
    /** Why it is not live: a code and what the source said. */
    reason: z.object({ code: z.string(), message: z.string() }).nullable(),
    resyncs: z.int(),
    transactions: z.int(),
  }),
  snapshot_id: z.int(),
  load: z.object({
    table: z.string().nullable(),
    tables: z.int(),
    tables_done: z.int(),
    rows: z.int(),
    rows_expected: z.int().nullable(),
    /** What of it was compared with the source before it was served: tables by their count, and rows of them; null: nothing. */
    verified: z.object({ tables: z.int(), rows: z.int(), samples: z.int() }).nullable().default(null),
  }),
  rows: z.record(z.string(), z.int()),
  drift: z.array(SchemaDrift),
  /** When a query was last answered, ms since 1970. */
  last_query_at: z.int().nullable().default(null),
  memory: z.object({ used_mb: z.number(), limit_mb: z.number() }),
  failure: z.object({ code: z.string(), message: z.string() }).nullable(),
});
export type EngineHealth = z.infer<typeof EngineHealth>;

/** With which an engine ends that was out of memory. */
export const EXIT_OUT_OF_MEMORY = 137;
