import { z } from "zod";
import { ProfileName } from "./database-profile.ts";
import { RestorePlan } from "./keeper.ts";

/**
 * What a workload of the runtime `postgres` is to do; its generation is the term. `write`: be the writer. `discard`: remove what this host has
 * of the database and, with keepers named, what they have. Commands are level-shaped like all workloads: gone means that PostgreSQL is off, and
 * its data folder stays as a copy.
 */
export const WriterOrder = z.object({
  purpose: z.enum(["write", "discard"]),
  database: z.string(),
  profile: ProfileName,
  /** What users see: the database, and its owner with the verifier of the owner's password as PostgreSQL stores it. */
  naming: z.object({ name: z.string(), owner: z.object({ role: z.string(), verifier: z.string() }) }),
  /** Whose verifier that is. */
  credential: z.string(),
  keepers: z.array(z.string()).describe("By name"),
  quorum: z.int().nonnegative(),
  from: z.object({ database: z.string(), target: RestorePlan.shape.target }).optional(),
  /** Both are filled in when a frame is made, and stored nowhere in the control plane: where the keepers are, and what they know the writer by. */
  keeper_addresses: z.array(z.object({ name: z.string(), url: z.string(), token: z.string() })).optional(),
  replication_password: z.string().optional(),
});
export type WriterOrder = z.infer<typeof WriterOrder>;

/** How a writer came up. */
export const WriterStart = z.object({
  rung: z.int(),
  why: z.string(),
  phases: z.record(z.string(), z.number()),
  restored_bytes: z.int(),
  /** Whose verifier PostgreSQL has: the order's, or that of one given later. */
  credential: z.string(),
});
export type WriterStart = z.infer<typeof WriterStart>;

/** A writer ends itself when its lease was not renewed for this long, counted from when the renewal was sent. */
export const WRITER_LEASE_MS = 20_000;
export const WRITER_RENEW_MS = 5_000;
/** What the control plane waits beyond that before another host's writer may be opened: clocks do not run alike. */
export const WRITER_LEASE_MARGIN_MS = 5_000;

/** An agent asks for its writers at once. `nth` comes back, so that it knows when it asked. */
export const WriterRenewal = z.object({
  nth: z.int().positive(),
  writers: z.array(z.object({ id: z.string(), generation: z.int().positive() })),
});
export type WriterRenewal = z.infer<typeof WriterRenewal>;
