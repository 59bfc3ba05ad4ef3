import { type ProfileName, profileParameters } from "../../contract/database-profile.ts";
import { DATABASE_SETTING, type RestoreTarget, standbyName, TERM_SETTING } from "../../contract/keeper.ts";
import { encryptionParameters } from "./encryption.ts";

export const SUPERUSER = "lamplighter";
export const REPLICATION_USER = "lamplighter_keeper";

export type WriterSettings = {
  database: string;
  term: number;
  profile: ProfileName;
  major: number;
  listen: { host: string; port: number };
  socketFolder: string;
  folder: string;
  /** The names of the keepers, and how many of them acknowledge a commit. */
  keepers: readonly string[];
  quorum: number;
  /** For a data folder that was restored: the timeline to follow, and where to stop. */
  recovery: { timeline: number; target: RestoreTarget } | null;
  isEncrypted: boolean;
};

/** How long a keeper that says nothing holds commits up where others could do without it, and a shutdown in any case. */
const SENDER_TIMEOUT = "10s";
/** What log is kept for a keeper that is away. Beyond it, it begins anew with a base backup. */
const MOST_LOG_FOR_KEEPERS = "4GB";
/** Slots of engines: one of each, a second one while its successor loads, and one for what is read again beside the stream. */
const MOST_READERS = 12;

/** The whole postgresql.conf of a writer. Nothing of it can be changed by those who use the database. */
export function configuration(settings: WriterSettings): string {
  const { database, term, profile, major, listen, socketFolder, folder, keepers, quorum, recovery, isEncrypted } =
    settings;
  const standbys = keepers.map((keeper) => `"${standbyName(keeper, term)}"`).join(", ");
  const parameters: Record<string, string> = {
    ...profileParameters(profile),
    listen_addresses: listen.host,
    port: String(listen.port),
    unix_socket_directories: socketFolder,
    hba_file: `${folder}/pg_hba.conf`,
    ident_file: `${folder}/pg_ident.conf`,
    password_encryption: "scram-sha-256",
    superuser_reserved_connections: "3",
    // Durability: a commit is acknowledged when so many keepers of this very term have it on disk.
    // So that engines may follow any database without its writer being started anew for it.
    wal_level: "logical",
    synchronous_commit: "on",
    synchronous_standby_names: keepers.length === 0 ? "" : `ANY ${quorum} (${standbys})`,
    full_page_writes: "on",
    wal_log_hints: "on",
    max_wal_senders: String(2 * keepers.length + 4 + MOST_READERS),
    max_replication_slots: String(keepers.length + 4 + MOST_READERS),
    max_slot_wal_keep_size: MOST_LOG_FOR_KEEPERS,
    // After a restore no slot holds the end of the old timeline, of which a keeper may lack the zeroes that follow a switch of segments.
    wal_keep_size: "64MB",
    wal_sender_timeout: SENDER_TIMEOUT,
    min_wal_size: "80MB",
    // Nobody reads from it while it recovers, so whoever gets in gets in to a writer.
    hot_standby: "off",
    // After a crash it is started anew from outside, and nobody gets in before the keepers have what it recovered.
    restart_after_crash: "off",
    ...(process.platform === "linux" ? { recovery_init_sync_method: "syncfs" } : {}),
    ...(major >= 17 ? { allow_alter_system: "off" } : {}),
    logging_collector: "off",
    // With the SQLSTATE, by which it is told what keeps it from starting.
    log_line_prefix: "%m [%p] %e %q%u@%d ",
    log_checkpoints: "off",
    cluster_name: database,
    [TERM_SETTING]: String(term),
    [DATABASE_SETTING]: database,
    ...(isEncrypted ? encryptionParameters(folder) : {}),
    ...(recovery ? recoveryParameters(recovery) : {}),
  };
  return `${Object.entries(parameters)
    .map(([name, value]) => `${name} = ${quoted(value)}`)
    .join("\n")}\n`;
}

/** Everything that is to be replayed has been laid out beforehand, so the command that would fetch more always fails. */
function recoveryParameters({ timeline, target }: NonNullable<WriterSettings["recovery"]>): Record<string, string> {
  return {
    restore_command: "false",
    recovery_target_timeline: String(timeline),
    recovery_target_action: "promote",
    ...(target === null
      ? {}
      : "lsn" in target
        ? { recovery_target_lsn: target.lsn, recovery_target_inclusive: "off" }
        : // PostgreSQL does not know what Z means before it has read its configuration.
          { recovery_target_time: new Date(target.time).toISOString().replace("Z", "+00") }),
  };
}

/**
 * Who gets in. The agent, by its own user's right at the socket; the keepers; and everyone else by password, never as one of ours.
 * Where the agent is the same user as PostgreSQL, so is everything else that this user runs. Where there is TLS there is no way in without.
 */
export function hostRules(isEncrypted: boolean): string {
  const host = isEncrypted ? "hostssl" : "host";
  return [
    `local all ${SUPERUSER} peer map=agent`,
    "local all all scram-sha-256",
    `${host} replication ${REPLICATION_USER} all scram-sha-256`,
    `host all ${SUPERUSER} all reject`,
    `host all ${REPLICATION_USER} all reject`,
    `${host} all all all scram-sha-256`,
    "",
  ].join("\n");
}

export const identityMap = (agentUser: string): string => `agent "${agentUser}" ${SUPERUSER}\n`;

const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`;
