import { z } from "zod";
import { ProfileName } from "./database-profile.ts";
import { ReaderOrder } from "./database-reader.ts";
import { KeeperName, KeptDatabaseId, RestoreTarget } from "./keeper.ts";

/** A database's writer is the one PostgreSQL that may change it. `docs/design/writers.md` has the rules of terms and leases. */

const term = z.int().positive();

/** A writer may run for this long after the renewal of its lease was sent, and renews it so often. */
export const WRITER_LEASE_MS = 20_000;
export const WRITER_RENEW_MS = 5_000;

export const KeeperAddress = z.object({
  name: KeeperName,
  url: z.string(),
  token: z.string(),
  /** SHA-256 of its certificate, 64 hex digits; without it, its certificate has to be one that hosts trust. */
  fingerprint: z.string().optional(),
});
export type KeeperAddress = z.infer<typeof KeeperAddress>;

/** What clients see of a database: its name, and the one role that owns everything in it. */
export const Naming = z.object({
  name: z.string().min(1).max(63),
  owner: z.object({
    role: z.string().min(1).max(63),
    /** What PostgreSQL keeps instead of the password: SCRAM-SHA-256$… */
    verifier: z.string(),
  }),
});
export type Naming = z.infer<typeof Naming>;

/** What the control plane orders a host: the writer of this term is to run there. Repeatable; a lower term than one that was heard of is refused. */
export const WriterOrder = z.object({
  database: KeptDatabaseId,
  term,
  /**
   * The last term whose writer clients were let in to; 0 when none ever was. Where nothing of that term can be found, acknowledged commits are
   * missing, and nothing is started.
   */
  served_term: z.int().nonnegative(),
  /** Start with what there is all the same. On a person's word only. */
  accept_loss: z.boolean().optional(),
  profile: ProfileName,
  naming: Naming,
  /** For engines that read from it; left out or null: there are none. */
  reader: ReaderOrder.nullable().optional(),
  keepers: z.array(KeeperAddress),
  /** How many keepers acknowledge a commit. 0 only where there are none: then the loss of the host is the loss of the database. */
  quorum: z.int().nonnegative(),
  /** By which the keepers log in. The same for every term. */
  replication_password: z.string(),
  /** For a database that begins as another one was at some moment. */
  from: z.object({ database: KeptDatabaseId, target: RestoreTarget }).optional(),
});
export type WriterOrder = z.infer<typeof WriterOrder>;

/** Why there is no writer. `wrong_version`: this host has no PostgreSQL of the version that made the database; another host may. */
export const WriterRefusal = z.enum([
  "stale_term",
  "keepers_unreachable",
  "not_restorable",
  "lease_over",
  "wrong_version",
  "failed",
]);
export type WriterRefusal = z.infer<typeof WriterRefusal>;
