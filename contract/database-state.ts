import { z } from "zod";
import { RestoredFrom, ScaleState, StartView, WAKE_CAUSES } from "./database.ts";
import { ProfileName } from "./database-profile.ts";
import { Note } from "./workload.ts";

/** What a database is from its making on. */
export const DatabaseIdentity = z.object({
  id: z.string(),
  namespace: z.string(),
  name: z.string(),
  role: z.string(),
  created_at: z.int(),
  placement: z.record(z.string(), z.string()),
  restored_from: RestoredFrom.nullable(),
});
export type DatabaseIdentity = z.infer<typeof DatabaseIdentity>;

/** What its owner may change. */
export const DatabaseSettings = z.object({
  profile: ProfileName,
  idle_timeout: z.int(),
  labels: z.record(z.string(), z.string()),
  allowed_addresses: z.array(z.string()),
});
export type DatabaseSettings = z.infer<typeof DatabaseSettings>;

/** Who woke it. */
export const Wake = z.object({
  at: z.int(),
  cause: z.enum(WAKE_CAUSES),
  gateway: z.string().nullable(),
  client: z.object({ address: z.string(), application_name: z.string() }).nullable(),
});
export type Wake = z.infer<typeof Wake>;

/** A writer of an older term that may still run somewhere. Its lease is over at `lease_until`; null until its host has said. */
export const Leaving = z.object({
  host_id: z.string(),
  term: z.int(),
  lease_until: z.int().nullable(),
  /** Its host was removed: nobody will ever say that it is gone. */
  removed: z.boolean().default(false),
});
export type Leaving = z.infer<typeof Leaving>;

const common = {
  /** The highest that was ever given out. */
  term: z.int().nonnegative(),
  /** The last whose writer clients were let in to. What was acknowledged under it must not be missing in a later one. */
  served_term: z.int().nonnegative(),
  leaving: z.array(Leaving),
  /** Where the newest copy of the data folder is. */
  home: z.string().nullable(),
  /** Every host that may have a copy. */
  copies: z.array(z.string()),
  current_profile: ProfileName.nullable(),
  candidate_profile: ProfileName.nullable(),
  scale_state: ScaleState,
  freeze_new_checkouts: z.boolean(),
  last_start: StartView.nullable(),
  /** How often it was started, and how fast: see objects/database/starts.ts. */
  starts: z.record(z.string(), z.int()).default({}),
  /** Starts that failed one after the other. */
  failures: z.int(),
  /** Its owner has said to start with what there is, though acknowledged commits are missing; until a start succeeds. */
  accept_loss: z.boolean(),
  /** The verifier that PostgreSQL has, as far as is known. */
  installed: z.string().nullable(),
  /** The password that readers have there, as far as is known; null: PostgreSQL has no role of readers. */
  reader: z.string().nullable().default(null),
  /** To any moment from then on a copy of it can be made, as its keepers last said; null until they have. */
  restorable_since: z.int().nullable().default(null),
};

const writer = { host_id: z.string(), since: z.int() };

export const DatabaseState = z.discriminatedUnion("status", [
  z.object({
    ...common,
    status: z.literal("creating"),
    since: z.int(),
    /** Why what it needs is not there yet. */
    message: z.string().default(""),
    /** Who waits for it already. */
    wake: Wake.nullable().default(null),
  }),
  z.object({ ...common, status: z.literal("stopped"), since: z.int(), because: z.string().default("") }),
  z.object({
    ...common,
    status: z.literal("booting"),
    since: z.int(),
    wake: Wake,
    /** How often it was tried for this wake. */
    attempt: z.int().positive(),
    /** Hosts that have said no to this attempt, and why. */
    refused: z.record(z.string(), z.string()),
    /** Hosts that lack the version of PostgreSQL that it needs: not asked again for this wake. */
    unfit: z.record(z.string(), z.string()).default({}),
    message: z.string(),
    /** When to look again if nothing is heard. */
    look_at: z.int(),
    /** The verifier in the start order. */
    ordered: z.string().nullable(),
    step: z.discriminatedUnion("name", [
      z.object({ name: z.literal("placing") }),
      /** Its host has not answered yet. */
      z.object({ name: z.literal("offered"), host_id: z.string() }),
      z.object({ name: z.literal("starting"), host_id: z.string() }),
      /** It runs, and nobody is let in before the last one's lease is over. */
      z.object({
        name: z.literal("fencing"),
        host_id: z.string(),
        backend: z.string(),
        certificate: z.string().nullable().default(null),
        start: StartView,
        /** Until when older ones elsewhere may go on on the keepers' word. */
        leased_until: z.int().default(0),
      }),
      /** After a failed attempt. */
      z.object({ name: z.literal("pausing") }),
    ]),
  }),
  z.object({
    ...common,
    ...writer,
    status: z.literal("ready"),
    backend: z.string(),
    /** By which gateways know it, PEM; null: they reach it without TLS. */
    certificate: z.string().nullable().default(null),
    /** Its host is to be emptied: it goes as soon as nobody is there. */
    unwelcome: z.boolean(),
    /** Since when its host is to stop it unless a client is connected, of whatever gateway; null: it is not. */
    closing: z.int().nullable().default(null),
    /** Gateways are being asked whether anybody is there. */
    quiesce: z
      .object({ stop: z.string(), until: z.int(), asked: z.array(z.string()), quiet: z.array(z.string()) })
      .nullable(),
    /** Gateways were not quiet: not to be asked again before. */
    not_before: z.int(),
    /** What its host says is wrong with it. */
    notes: z.array(Note).optional(),
  }),
  z.object({ ...common, ...writer, status: z.literal("stopping"), look_at: z.int(), because: z.string().default("") }),
  z.object({
    ...common,
    status: z.literal("deleting"),
    since: z.int(),
    look_at: z.int(),
    /** Whether the keepers have been told to forget it. */
    kept: z.boolean(),
    /** The host that is removing its copy now. */
    discarding: z.object({ host_id: z.string(), term: z.int() }).nullable(),
    message: z.string(),
  }),
  z.object({
    ...common,
    status: z.literal("error"),
    since: z.int(),
    code: z.string(),
    message: z.string(),
    retry_at: z.int(),
  }),
]);
export type DatabaseState = z.infer<typeof DatabaseState>;
