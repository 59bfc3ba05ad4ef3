import { z } from "zod";
import { KeeperAddress, WriterOrder } from "./writer.ts";

/**
 * What a workload of the runtime `postgres` is to do; its generation is the term. `write`: be the writer. `discard`: remove what this host has
 * of the database, and what its keepers have. A task is level-shaped like all that an agent is told: gone means that PostgreSQL is off, and its
 * data folder stays as a copy.
 */
export const WriterTask = WriterOrder.omit({ term: true, keepers: true, replication_password: true }).extend({
  purpose: z.enum(["write", "discard"]),
  /** Whose verifier that is. */
  credential: z.string(),
  keepers: z.array(z.string()).describe("By name"),
  /** Filled in when a frame is made, and stored nowhere with it: where the keepers are, and what they know the writer by. */
  keeper_addresses: z.array(KeeperAddress).optional(),
  replication_password: z.string().optional(),
});
export type WriterTask = z.infer<typeof WriterTask>;

/** How a writer came up. */
export const WriterStart = z.object({
  rung: z.int(),
  why: z.string(),
  /** Why the copy that its host had could not be used; null when it could, or there was none. */
  damage: z.string().nullable().default(null),
  /** What each part took, ms. */
  phases: z.record(z.string(), z.number()),
  restored_bytes: z.int(),
  /** For so long an older writer may still go on elsewhere, on the word of keepers. */
  older_lease_ms: z.int().nonnegative().default(0),
  /** By which gateways are to know it, PEM; null where it is reached without TLS, on its own host only. */
  certificate: z.string().nullable().default(null),
  /** Whose verifier PostgreSQL has: the task's, or that of one given later. */
  credential: z.string(),
  /** Which password its readers have; left out: none. */
  reader: z.string().nullable().optional(),
  /** To any moment from then on, ms since 1970, it can be restored; left out: not known yet. */
  restorable_since: z.int().optional(),
});
export type WriterStart = z.infer<typeof WriterStart>;

/** What the control plane waits beyond the lease of a writer before another host's may be opened: clocks do not run alike. */
export const WRITER_LEASE_MARGIN_MS = 5_000;

/** An agent asks for all its writers at once. `nth` comes back, so that it knows when it asked. */
export const WriterRenewal = z.object({
  nth: z.int().positive(),
  writers: z.array(z.object({ id: z.string(), generation: z.int().positive() })),
});
export type WriterRenewal = z.infer<typeof WriterRenewal>;
