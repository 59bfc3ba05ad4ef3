import { z } from "zod";
import { Bridge, VERIFIERS_MOST, Verifier } from "./scram.ts";

/**
 * What a gateway and the control plane say to each other: `docs/design/gateway.md` has the whole protocol and its rules.
 *
 * `POST /gateway/lookups` with a LookupQuestion answers a Lookup. It wakes nothing.
 *
 * `GET /gateway/databases/<id>/lease?boot_id=…` is a WebSocket between one run of a gateway and one DatabaseObject, open while the gateway has
 * use for the database. Both sides' frames are level-shaped: each says how things are, a newer one replaces an older one, and after a cut the
 * gateway restates with its next `lease`. The lease is named by the boot id: one per database and run of a gateway.
 */

/** A lease that was not renewed for this long has ended; the gateway counts from when it sent the renewal. */
export const LEASE_TTL_MS = 30_000;
export const LEASE_RENEW_MS = 10_000;
/** A `quiesce` that some gateway has not answered in this time is given up. */
export const QUIESCE_WITHIN_MS = 500;
/** A client is held for this long at most while its database starts. */
export const HOLD_MOST_MS = 60_000;
/** Renewals name this many clients; the counts are of all. */
export const CLIENTS_NAMED = 10;

export const GATEWAY_PATHS = {
  lookup: "/gateway/lookups",
  lease: (databaseId: string, bootId: string) =>
    `/gateway/databases/${encodeURIComponent(databaseId)}/lease?boot_id=${encodeURIComponent(bootId)}`,
} as const;

const Name = z.string().min(1).max(63);

export const LookupQuestion = z.object({ role: Name, database: Name });
export type LookupQuestion = z.infer<typeof LookupQuestion>;

/**
 * What a role and a database name stand for. For a pair that does not exist the answer looks the same and has no verifiers: `salt` is then an
 * HMAC of the names under a key of the control plane, so that every gateway gives the same one, each time.
 */
export const Lookup = z.object({
  salt: z.base64(),
  iterations: z.int().positive(),
  /** All passwords that are valid now. */
  verifiers: z.array(Verifier.extend({ bridge: Bridge.nullable() })).max(VERIFIERS_MOST),
  /** Null: the role exists, the database does not. Told only after the password was right. */
  database: z
    .object({
      id: z.string(),
      /** Which verifier PostgreSQL has. */
      installed: z.string(),
      /** What both are called inside PostgreSQL. */
      role: Name,
      name: Name,
      /** If not empty, an SNI that a client sends must be one of them; `*.` at the beginning stands for one label. */
      server_names: z.array(z.string()),
      /** CIDR blocks that clients may come from; empty means all. */
      allowed_addresses: z.array(z.string()),
      /** Clients at once, through one gateway. */
      clients_most: z.int().positive(),
      /** Not to be opened now, and why: a quota or a suspension. */
      refused: z.string().nullable(),
    })
    .nullable(),
  /** How long a gateway may use this answer, and how long when the control plane does not answer, ms. */
  fresh_ms: z.int().nonnegative(),
  stale_ms: z.int().nonnegative(),
});
export type Lookup = z.infer<typeof Lookup>;

export const Endpoint = z.object({
  host: z.string(),
  port: z.int().min(1).max(65535),
  /** TLS to PostgreSQL with exactly this certificate; null where the way there is safe by itself. */
  tls: z.object({ certificate: z.string().describe("PEM") }).nullable(),
});
export type Endpoint = z.infer<typeof Endpoint>;

/** Why a database is awake: one client of it. */
export const GatewayClient = z.object({
  address: z.string(),
  application_name: z.string(),
  role: z.string(),
  since: z.int().describe("ms since 1970"),
  phase: z.enum(["waiting", "idle", "active", "in_transaction"]),
});
export type GatewayClient = z.infer<typeof GatewayClient>;

export const GatewayFrame = z.discriminatedUnion("kind", [
  /**
   * Acquires and renews. `wake`: somebody waits for it to be awake. `seq` rises with each frame and comes back in `granted`. After the answer
   * `quiet` this is also how a client that came late is told: the DatabaseObject gives up the stop, or wakes once more.
   */
  z.object({
    kind: z.literal("lease"),
    seq: z.int().positive(),
    gateway: z.string().describe("How the gateway is called"),
    wake: z.boolean(),
    /** The term whose endpoint the gateway has; null for none. */
    term: z.int().positive().nullable(),
    /** The endpoint of this term did not answer, or not as PostgreSQL does. */
    suspect: z.object({ term: z.int().positive(), why: z.string() }).nullable(),
    sessions: z.int().nonnegative(),
    in_transaction: z.int().nonnegative(),
    waiting: z.int().nonnegative(),
    /** Since anything was sent by a client; null when none has been here. */
    idle_ms: z.int().nonnegative().nullable(),
    clients: z.array(GatewayClient).max(CLIENTS_NAMED),
  }),
  /** The answer to `quiesce`. With `quiet` the gateway has forgotten the endpoint: who comes now waits for the next `ready`. */
  z.object({ kind: z.literal("quiet"), stop: z.string(), quiet: z.boolean(), sessions: z.int(), waiting: z.int() }),
  z.object({ kind: z.literal("release"), idle_ms: z.int().nonnegative().nullable() }),
]);
export type GatewayFrame = z.infer<typeof GatewayFrame>;

export const LeaseFrame = z.discriminatedUnion("kind", [
  /** The lease holds until `ttl_ms` after the gateway sent frame `seq`. */
  z.object({
    kind: z.literal("granted"),
    seq: z.int().positive(),
    ttl_ms: z.int().positive(),
    renew_ms: z.int().positive(),
  }),
  /** It is being woken; `message` is for a person who waits. */
  z.object({ kind: z.literal("waking"), phase: z.string(), message: z.string() }),
  /** It is awake. A `ready` of a higher term ends all sessions of lower ones; one of a lower term is ignored. */
  z.object({ kind: z.literal("ready"), term: z.int().positive(), endpoint: Endpoint }),
  /** It cannot be woken now. Whoever waits is refused; until `retry_after_ms` has passed the gateway answers so without asking. */
  z.object({
    kind: z.literal("failed"),
    reason: z.string(),
    message: z.string(),
    retry_after_ms: z.int().nonnegative().nullable(),
  }),
  /** Is nobody here? `stop` comes back in `quiet`. */
  z.object({ kind: z.literal("quiesce"), stop: z.string(), term: z.int().positive() }),
  /** The writer of this term is gone. */
  z.object({ kind: z.literal("stopped"), term: z.int().positive() }),
  /** It is deleted or suspended: all sessions end, and the lease with them. */
  z.object({ kind: z.literal("revoked"), message: z.string() }),
  /** Credentials, limits or addresses have changed: what was looked up for this database is no longer good. */
  z.object({ kind: z.literal("changed") }),
]);
export type LeaseFrame = z.infer<typeof LeaseFrame>;
