import { z } from "zod";
import { type ActionTable, AllowedActions } from "./action.ts";
import { ProfileName } from "./database-profile.ts";

/**
 * A database is there always; its writer, a PostgreSQL, only while somebody is connected. `creating`: the catalogue and the storage are being
 * prepared. `booting`: the writer is starting. `ready`: it takes connections. `stopping`: the writer is stopping. `stopped`: it is off, and
 * the next connection wakes it. `deleting`: what is kept of it is being removed. `error`: the writer could not be started; a connection that
 * comes after `retry_at` tries again.
 */
export const DATABASE_STATES = ["creating", "booting", "ready", "stopping", "stopped", "deleting", "error"] as const;
export const DatabaseStatus = z.enum(DATABASE_STATES);
export type DatabaseStatus = z.infer<typeof DatabaseStatus>;

/** Every edge that a database may take. A deleted one leaves by being forgotten. */
export const DATABASE_NEXT = {
  /** `booting`: somebody waits already. */
  creating: ["stopped", "booting", "error", "deleting"],
  booting: ["ready", "error", "deleting"],
  /** `booting`: the writer ended, or its host was lost, with clients there; without any, `stopped`. */
  ready: ["stopping", "booting", "stopped", "error", "deleting"],
  /** `booting`: a client arrived meanwhile. */
  stopping: ["stopped", "booting", "deleting"],
  stopped: ["booting", "deleting"],
  deleting: [],
  /** `creating`: what it needs is still not there. */
  error: ["booting", "creating", "deleting"],
} as const satisfies Record<DatabaseStatus, readonly DatabaseStatus[]>;

/** How long a database may stay in a passing state, and what comes then. The others have no deadline. */
export const DATABASE_DEADLINES = {
  creating: { after_ms: 60_000, leads_to: "error" },
  /** A writer that has to be restored takes as long as its data is large. */
  booting: { after_ms: 900_000, leads_to: "error" },
  /** Whether it is gone is asked again: a stop is never taken for done. */
  stopping: { after_ms: 30_000, leads_to: "asked again" },
  deleting: { after_ms: 60_000, leads_to: "asked again" },
} as const satisfies Partial<Record<DatabaseStatus, { after_ms: number; leads_to: "error" | "asked again" }>>;

export const DATABASE_ACTIONS = [
  "update",
  "rotate_credentials",
  "restore",
  "accept_loss",
  "delete",
  "start",
  "stop",
  "scale",
] as const;
export type DatabaseAction = (typeof DATABASE_ACTIONS)[number];

const living = ["creating", "booting", "ready", "stopping", "stopped", "error"] as const;
const made = ["booting", "ready", "stopping", "stopped", "error"] as const;

/** What may be asked in which state. Starting, stopping and scaling by hand are for nobody: connections do it. */
export const DATABASE_ACTION_TABLE = {
  update: { from: living, already: [] },
  rotate_credentials: { from: made, already: [] },
  restore: { from: made, already: [] },
  /** What was acknowledged cannot be found any more (`not_restorable`), and its owner says to start with what there is. */
  accept_loss: { from: ["error"], already: [] },
  delete: { from: living, already: ["deleting"] },
  start: { from: [], already: [] },
  stop: { from: [], already: [] },
  scale: { from: [], already: [] },
} as const satisfies ActionTable<DatabaseStatus, DatabaseAction>;

export const DISABLED_ACTIONS = ["start", "stop", "scale"] as const;
export type DisabledAction = (typeof DISABLED_ACTIONS)[number];
export const DISABLED_REASON =
  "databases are started by the first connection and stopped when they are idle; neither is done by hand";

/** Steps of a change of profile; all but STEADY are of a handoff. */
export const SCALE_STATES = [
  "STEADY",
  "PREPARING",
  "FREEZING",
  "DRAINING",
  "STOPPING_OLD",
  "STARTING_NEW",
  "SWITCHING",
  "COOLDOWN",
  "POSTPONED",
  "FAILED",
] as const;
export const ScaleState = z.enum(SCALE_STATES);
export type ScaleState = z.infer<typeof ScaleState>;

export const IDLE_TIMEOUT_DEFAULT_S = 300;
export const IDLE_TIMEOUT_LEAST_S = 5;
export const IDLE_TIMEOUT_MOST_S = 7 * 86_400;

/** What PostgreSQL calls it too. */
export const DatabaseName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_$]{0,62}$/, "expected a letter or `_`, then letters, digits, `_` or `$`, 63 in all")
  .refine(
    (name) => !RESERVED_NAMES.includes(name.toLowerCase()) && !name.toLowerCase().startsWith("pg_"),
    "is a name that PostgreSQL keeps for itself",
  );
const RESERVED_NAMES = ["postgres", "template0", "template1", "unclaimed"];

/** Clients that came by IPv6 from an IPv4 address are known by that: no other block matches them. */
const isBlock = (text: string): boolean =>
  [z.cidrv4(), z.cidrv6()].some((one) => one.safeParse(text).success) && !/^(0*:)*:?ffff:/i.test(text);

const settings = {
  idle_timeout: z
    .int()
    .refine(
      (seconds) => seconds === 0 || (seconds >= IDLE_TIMEOUT_LEAST_S && seconds <= IDLE_TIMEOUT_MOST_S),
      `expected 0 for never, or ${IDLE_TIMEOUT_LEAST_S} to ${IDLE_TIMEOUT_MOST_S} seconds`,
    )
    .describe("After how many seconds without any connection it is stopped; 0: never"),
  profile: ProfileName.describe("How large its writer is"),
  labels: z.record(z.string().min(1).max(63), z.string().max(255)),
  allowed_addresses: z
    .array(z.string().refine(isBlock, 'expected a CIDR block such as "10.0.0.0/8" or "2001:db8::/32"'))
    .max(100)
    .describe("Where clients may come from; empty: from anywhere"),
};

const PLACEMENT = "Which hosts its writer may run on, by their labels";

export const DatabaseCreate = z.strictObject({
  name: DatabaseName,
  namespace: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "expected lower-case letters, digits or `-`")
    .default("default"),
  profile: settings.profile.default("L1"),
  idle_timeout: settings.idle_timeout.default(IDLE_TIMEOUT_DEFAULT_S),
  labels: settings.labels.default({}),
  allowed_addresses: settings.allowed_addresses.default([]),
  placement: z
    .strictObject({ labels: z.record(z.string(), z.string()).default({}) })
    .default({ labels: {} })
    .describe(PLACEMENT),
});
export type DatabaseCreate = z.infer<typeof DatabaseCreate>;

export const DatabasePatch = z.strictObject({
  profile: settings.profile.optional(),
  idle_timeout: settings.idle_timeout.optional(),
  labels: settings.labels.optional(),
  allowed_addresses: settings.allowed_addresses.optional(),
});
export type DatabasePatch = z.infer<typeof DatabasePatch>;

export const DatabaseRestore = z
  .strictObject({
    name: DatabaseName.describe("Of the new database"),
    time: z.iso.datetime({ offset: true }).optional().describe("The moment to go back to; left out: now"),
    lsn: z
      .string()
      .regex(/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/, "expected a log position such as 16/B374D848")
      .optional()
      .describe("A log position in place of a moment"),
  })
  .refine(({ time, lsn }) => time === undefined || lsn === undefined, "expected `time` or `lsn`, not both");
export type DatabaseRestore = z.infer<typeof DatabaseRestore>;

/** From where a database was restored, when it was. */
export const RestoredFrom = z.object({
  database: z.string(),
  target: z.union([z.object({ lsn: z.string() }), z.object({ time: z.int() }), z.null()]),
});
export type RestoredFrom = z.infer<typeof RestoredFrom>;

/** One client of a lease, as its gateway sees it. */
export const LeaseClientView = z.object({
  address: z.string(),
  application_name: z.string(),
  role: z.string(),
  since: z.iso.datetime(),
  phase: z.enum(["waiting", "idle", "active", "in_transaction"]),
});

/** One run of a gateway that uses the database. */
export const LeaseView = z.object({
  gateway: z.string(),
  boot_id: z.string(),
  connected: z.boolean().describe("false: its line is down, and the lease ends unless it comes back"),
  since: z.iso.datetime(),
  renewed_at: z.iso.datetime(),
  expires_at: z.iso.datetime(),
  sessions: z.int(),
  in_transaction: z.int(),
  waiting: z.int().describe("Clients that wait for the writer"),
  unreachable: z.string().nullable().describe("Why the gateway cannot reach PostgreSQL, where it was told that it is"),
  clients: z.array(LeaseClientView).describe("The first few of them"),
});
export type LeaseView = z.infer<typeof LeaseView>;

/** `reader`: an engine, or what builds one, had to read from it. */
export const WAKE_CAUSES = ["connection", "restart", "restore", "reader"] as const;

/** How the writer was started last. */
export const StartView = z.object({
  term: z.int(),
  at: z.iso.datetime().describe("When it was asked for"),
  ready_at: z.iso.datetime(),
  ms: z.int(),
  rung: z.int().describe("The rung of the start ladder that it took"),
  why: z.string().describe("Why this rung"),
  phases: z.record(z.string(), z.number()).describe("What each part took, ms"),
  restored_bytes: z.int(),
  cause: z.enum(WAKE_CAUSES),
  gateway: z.string().nullable(),
  client: z.object({ address: z.string(), application_name: z.string() }).nullable(),
});
export type StartView = z.infer<typeof StartView>;

export const CredentialView = z.object({
  id: z.string(),
  created_at: z.iso.datetime(),
  current: z.boolean().describe("The newest; the other one is of before the last rotation"),
  installed: z.boolean().describe("PostgreSQL has it; the other one is let in by way of it"),
});
export type CredentialView = z.infer<typeof CredentialView>;

/** A database as the API answers it. */
export const DatabaseView = z.object({
  id: z.string(),
  name: z.string(),
  namespace: z.string(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
  state: DatabaseStatus,
  status: DatabaseStatus.describe("The same as `state`, under the name that all resources have for it"),
  reason: z.string(),
  message: z.string(),
  role: z.string(),
  labels: z.record(z.string(), z.string()),
  idle_timeout: z.int(),
  allowed_addresses: z.array(z.string()),
  placement: z.object({ labels: z.record(z.string(), z.string()) }).describe(PLACEMENT),
  current_scale: z.int().describe("1: there is a writer"),
  target_scale: z.int().describe("1: there should be one"),
  current_profile: ProfileName.nullable().describe("Of the writer that runs, or ran last; null before the first"),
  target_profile: ProfileName,
  candidate_profile: ProfileName.nullable(),
  scale_state: ScaleState,
  scale_failure_reason: z.string().nullable(),
  freeze_new_checkouts: z.boolean(),
  term: z.int().describe("Rises with each start; whoever writes under a lower one is refused"),
  timeline: z.string().describe("Under which name the keepers have its log"),
  durability: z.object({
    kind: z
      .enum(["keepers", "host"])
      .describe("host: without keepers, what is committed is as safe as its host's disk, and no safer"),
    keepers: z.array(z.string()),
    quorum: z.int(),
  }),
  host_id: z.string().nullable(),
  backend_addr: z.string().nullable(),
  restored_from: RestoredFrom.nullable(),
  restorable_since: z.iso
    .datetime()
    .nullable()
    .describe("To any moment from then on a copy of it can be made; null: not known yet, or nothing is kept"),
  active_connections: z.int(),
  last_used_at: z.iso.datetime().nullable(),
  idle_stop_at: z.iso.datetime().nullable().describe("When it is stopped if nobody comes"),
  awake_because: z.array(LeaseView).describe("The leases of gateways whose clients use it or wait for it"),
  last_start: StartView.nullable(),
  failed: z
    .object({ code: z.string(), message: z.string(), retry_at: z.iso.datetime() })
    .nullable()
    .describe("Why the last start failed, while nothing has succeeded since"),
  revision: z.int(),
  allowedActions: AllowedActions,
  event_cursor: z.int(),
});
export type DatabaseView = z.infer<typeof DatabaseView>;

/** A database in a list. Lists are as of the last change of state, so they leave out what goes on without one. */
export const ListedDatabase = DatabaseView.omit({
  active_connections: true,
  idle_stop_at: true,
  awake_because: true,
}).extend({
  last_used_at: DatabaseView.shape.last_used_at.optional().describe("Only of one that is stopped"),
});
export type ListedDatabase = z.infer<typeof ListedDatabase>;
