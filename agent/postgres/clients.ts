import { setTimeout as sleep } from "node:timers/promises";
import { READER_ROLE } from "../../contract/database-reader.ts";
import type { Connection } from "../../postgres/connection.ts";

/** Who is logging in is a client, or the agent itself, a moment later. */
const LOGIN_MS = 250;
const LOOK_EVERY_MS = 10;

const BACKENDS = `SELECT pid, CASE
    WHEN pid IN (SELECT pid FROM pg_stat_progress_basebackup) THEN 'client'
    WHEN backend_type <> 'client backend' OR usename IN (current_user, '${READER_ROLE}') THEN 'own'
    WHEN usename IS NULL THEN 'unknown'
    ELSE 'client' END AS kind FROM pg_stat_activity`;

/**
 * How many clients are connected to a PostgreSQL whose postmaster is halted. A base backup counts as one: it would have to begin anew. So does who
 * is still logging in, of whom perhaps only the process can be seen. Engines that follow do not: what they need it for, the control plane knows.
 * @param processes the children of the postmaster that are there now
 */
export async function countClients(connection: Connection, processes: () => readonly number[]): Promise<number> {
  for (const end = performance.now() + LOGIN_MS; ; await sleep(LOOK_EVERY_MS)) {
    const rows = await connection.query(BACKENDS);
    const kinds = new Map(rows.map(({ pid, kind }) => [Number(pid), kind]));
    for (const pid of processes()) if (!kinds.has(pid)) kinds.set(pid, "unknown");
    const clients = [...kinds.values()].filter((kind) => kind === "client").length;
    const unknown = [...kinds.values()].filter((kind) => kind === "unknown").length;
    if (clients > 0 || unknown === 0 || performance.now() > end) return clients + unknown;
  }
}
