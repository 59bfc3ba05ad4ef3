import { z } from "zod";

/**
 * Engines that read from a managed database. They log in to its writer itself, as one role that the control plane makes there for nothing else, and
 * that goes with the last connection to the database. `docs/design/databases.md` has the rules.
 */
export const READER_ROLE = "lamplighter_reader";

/** What a writer is to know the readers by; null where there are none. */
export const ReaderOrder = z.object({
  /** Which password it is of. */
  credential: z.string(),
  /** What PostgreSQL keeps instead of the password. */
  verifier: z.string(),
});
export type ReaderOrder = z.infer<typeof ReaderOrder>;

/** Where a managed database can be read now. Of two that were said, the one with the higher revision holds. */
export const SourceStanding = z.object({
  revision: z.int().nonnegative(),
  /** Of its writer, also of one that is gone. */
  term: z.int().nonnegative(),
  /** Null: it sleeps, and nobody is to wake it for changes alone. */
  at: z.object({ host: z.string(), port: z.int() }).nullable(),
});
export type SourceStanding = z.infer<typeof SourceStanding>;

/** What somebody wants of a managed database. */
export const SourceNeed = z.object({
  /** To be told when it wakes and when it goes to sleep. */
  follows: z.boolean(),
  /** Why it is to be awake; null: it need not be. */
  reason: z.string().max(200).nullable(),
});
export type SourceNeed = z.infer<typeof SourceNeed>;
