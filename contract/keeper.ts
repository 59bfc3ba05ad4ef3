import { z } from "zod";

/**
 * What a keeper's HTTP API takes and answers. Everyone who has the keeper's token may call: the control plane, and the agent on the strength
 * of a start order. Log positions are text as PostgreSQL prints them ("16/B374D848"); times are ms since 1970.
 *
 *   GET    /health                                    answers without a token
 *   GET    /metrics                                   Prometheus' text
 *   GET    /databases                                 KeptDatabase[]
 *   GET    /databases/:id                             KeptDatabase
 *   DELETE /databases/:id?term=                       forgets it, in the object store too
 *   POST   /databases/:id/promise                     Promise → KeptDatabase: no acknowledgement under a lower term from here on
 *   PUT    /databases/:id/writer                      WriterAddress → KeptDatabase: follow this writer until told otherwise
 *   DELETE /databases/:id/writer?term=                the writer is off: no connection is attempted any more
 *   PUT    /databases/:id/seed?…SeedQuery             a cold base backup as tar.zst, before the first writer
 *   POST   /databases/:id/bases                       takes a base backup of the running writer now → BaseBackup
 *   GET    /databases/:id/restore-points              RestorePoints
 *   GET    /databases/:id/restore-plan?lsn=|time=     RestorePlan
 *   GET    /databases/:id/bases/:base                 the base backup's files, tar.zst
 *   GET    /databases/:id/wal/:file?bytes=            a segment, or a history file, up to so many bytes
 *   POST   /leases                                    LeaseRequest → LeaseAnswer: these writers may go on, while the control plane is away
 */

export const KEEPER_DEFAULT_PORT = 7431;

const lsn = z.string().regex(/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/, "expected a log position such as 16/B374D848");
const term = z.int().positive();
const bytes = z.int().nonnegative();

export const KeptDatabaseId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "expected an id of lower-case letters, digits, _ and -");
/** A keeper's name becomes part of an application_name and of a slot's name, so it is held to what both allow. */
export const KeeperName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,30}$/, "expected a name of lower-case letters, digits and _");

/** As whom a keeper is the synchronous standby of a writer. Never the same for two keepers or two terms. */
export const standbyName = (keeper: string, ofTerm: number): string => `${keeper}_t${ofTerm}`;
export const slotName = (keeper: string): string => `lamplighter_${keeper}`;

/** The settings by which a writer says whose it is. A keeper reads them before it follows. */
export const TERM_SETTING = "lamplighter.term";
export const DATABASE_SETTING = "lamplighter.database";

export const PromiseRequest = z.object({ term });
export type PromiseRequest = z.infer<typeof PromiseRequest>;

/** All writers of a host at once. What is given holds for WRITER_LEASE_MS from when it was asked for. */
export const LeaseRequest = z.object({ writers: z.array(z.object({ database: KeptDatabaseId, term })).max(10_000) });
export type LeaseRequest = z.infer<typeof LeaseRequest>;
export const LeaseAnswer = z.object({ given: z.array(KeptDatabaseId) });
export type LeaseAnswer = z.infer<typeof LeaseAnswer>;

export const WriterAddress = z.object({
  term,
  host: z.string().min(1),
  port: z.int().min(1).max(65_535),
  user: z.string().min(1),
  password: z.string(),
  /** PEM: the writer is spoken to by TLS, and has exactly this certificate. Null: without, which only a writer on a loopback address allows. */
  certificate: z.string().nullable().default(null),
  /** Where what is kept is another log than the writer's, it is given up. Said only when enough other keepers have everything. */
  anew: z.boolean().default(false),
});
export type WriterAddress = z.infer<typeof WriterAddress>;

/** Of a cluster that was shut down cleanly: where its log goes on. */
export const SeedQuery = z.object({
  term: z.coerce.number().int().positive(),
  system_identifier: z.string().regex(/^\d+$/),
  timeline: z.coerce.number().int().positive(),
  /** Where replay begins: the redo position of the last checkpoint. */
  start_lsn: lsn,
  /** Its end: the end of the shutdown checkpoint's record. */
  end_lsn: lsn,
  /** Of the data folder, uncompressed. */
  bytes: z.coerce.number().int().nonnegative(),
  postgres_version: z.string(),
});
export type SeedQuery = z.infer<typeof SeedQuery>;

/** How a base backup came to be: of a running writer, or of a cluster that was off. */
export const BaseBackup = z.object({
  id: z.string(),
  kind: z.enum(["hot", "cold"]),
  term,
  timeline: z.int().positive(),
  start_lsn: lsn,
  end_lsn: lsn,
  at: z.int(),
  bytes,
  stored_bytes: bytes,
  sha256: z.string(),
  postgres_version: z.string(),
});
export type BaseBackup = z.infer<typeof BaseBackup>;

/** From where on the log was written under a term. */
export const TermRange = z.object({ term, timeline: z.int().positive(), begin_lsn: lsn, at: z.int() });
export type TermRange = z.infer<typeof TermRange>;

/** `waiting`: told of a writer, not following it yet. `diverged`: the writer's log is not a continuation of what is kept. */
export const FollowState = z.enum(["off", "waiting", "catching_up", "streaming", "diverged"]);
export type FollowState = z.infer<typeof FollowState>;

export const KeptDatabase = z.object({
  id: KeptDatabaseId,
  keeper: KeeperName,
  /** Under any lower term nothing is acknowledged any more. */
  promised_term: z.int().nonnegative(),
  /** Of the last writer whose log was taken in. 0: none ever. */
  writer_term: z.int().nonnegative(),
  /** The first term that it promised on this disk. Of what it confirmed under earlier ones it may know nothing. Null: it has promised none. */
  remembers_since: term.nullable(),
  system_identifier: z.string().nullable(),
  timeline: z.int().nonnegative(),
  /** How far the log is on disk. Null while there is none. */
  flush_lsn: lsn.nullable(),
  /** Whether a base backup and all log since are there. While not, nothing is acknowledged. */
  restorable: z.boolean(),
  following: z.object({
    state: FollowState,
    term: term.nullable(),
    since: z.int().nullable(),
    /** Why it does not stream, in words. */
    reason: z.string().nullable(),
  }),
  /** For so long a writer, of whatever term, may still go on on this keeper's word. */
  lease_left_ms: z.int().nonnegative().default(0),
  base: BaseBackup.nullable(),
  /** When it last heard from a writer. */
  heard_at: z.int().nullable(),
  store: z.object({
    /** Up to where the object store has everything. */
    shipped_lsn: lsn.nullable(),
    pending_segments: z.int().nonnegative(),
    failing_since: z.int().nullable(),
    error: z.string().nullable(),
  }),
});
export type KeptDatabase = z.infer<typeof KeptDatabase>;

export const RestorePoints = z.object({
  /** From the end of the oldest base backup that is kept … */
  earliest: z.object({ lsn, at: z.int() }).nullable(),
  /** … to the end of the log. */
  latest: z.object({ lsn, at: z.int() }).nullable(),
  bases: z.array(BaseBackup),
});
export type RestorePoints = z.infer<typeof RestorePoints>;

/** A moment to restore to; null is the end of the log. */
export const RestoreTarget = z.union([z.object({ lsn }), z.object({ time: z.int() }), z.null()]);
export type RestoreTarget = z.infer<typeof RestoreTarget>;

/** What has to be fetched for a restore, and how far replay goes. */
export const RestorePlan = z.object({
  database: KeptDatabaseId,
  system_identifier: z.string(),
  base: BaseBackup,
  timeline: z.int().positive(),
  /** The end of the log that is given out. */
  end_lsn: lsn,
  /** Where replay stops when that is earlier than its end; recovery settings of PostgreSQL. */
  target: RestoreTarget,
  history: z.array(z.string()),
  /** In order. A file counts up to `bytes`; what follows is to be zeroes. */
  segments: z.array(z.object({ file: z.string(), bytes: z.int().positive() })),
});
export type RestorePlan = z.infer<typeof RestorePlan>;

/** A run of segments, all there, of one timeline and shipped under one term. */
export const SegmentRun = z.object({
  term,
  timeline: z.int().positive(),
  first: z.int().nonnegative(),
  last: z.int().nonnegative(),
});
export type SegmentRun = z.infer<typeof SegmentRun>;

/** What of a database is in the object store. What it does not list is not there, whatever objects exist. */
export const StoreManifest = z.object({
  version: z.literal(1),
  database: KeptDatabaseId,
  keeper: KeeperName,
  written_at: z.int(),
  promised_term: z.int().nonnegative(),
  writer_term: z.int().nonnegative(),
  system_identifier: z.string().nullable(),
  timeline: z.int().nonnegative(),
  terms: z.array(TermRange),
  histories: z.record(z.string(), z.string()),
  bases: z.array(BaseBackup),
  segments: z.array(SegmentRun),
  /** The beginning of the segment that is not full yet. */
  tail: z
    .object({ term, timeline: z.int().positive(), segment: z.int().nonnegative(), bytes: z.int().positive() })
    .nullable(),
});
export type StoreManifest = z.infer<typeof StoreManifest>;

export const KeeperErrorCode = z.enum([
  "unauthorized",
  "not_found",
  "invalid",
  "stale_term",
  "not_restorable",
  "conflict",
  "unavailable",
]);
export type KeeperErrorCode = z.infer<typeof KeeperErrorCode>;
export const KeeperError = z.object({ code: KeeperErrorCode, message: z.string() });
export type KeeperError = z.infer<typeof KeeperError>;
