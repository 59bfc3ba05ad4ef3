import type { LeaseView } from "../../contract/database.ts";
import { type GatewayClient, type GatewayFrame, LEASE_TTL_MS } from "../../contract/gateway.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { setTimer } from "../alarm.ts";
import { active, lastActive } from "./activity.ts";
import type { Demand, LeaseSummary } from "./draft.ts";
import { readerDemand, readerViews } from "./reader.ts";

/**
 * The leases of gateways: what each run of one last said, and until when that holds. Renewing one writes its row and nothing else. Call what
 * writes inside `commit`.
 */
type Row = {
  boot_id: string;
  gateway: string;
  since: number;
  renewed_at: number;
  expires_at: number;
  sessions: number;
  in_transaction: number;
  waiting: number;
  clients: string;
  suspect: string | null;
};

type LeaseSaid = Extract<GatewayFrame, { kind: "lease" }>;

const rows = (sql: SqlStorage): Row[] => sql.exec<Row>("SELECT * FROM lease ORDER BY since, boot_id").toArray();

/** Takes what a gateway says. Answers whether it has not had a lease before. */
export function renew(sql: SqlStorage, bootId: string, said: LeaseSaid, now: number): boolean {
  const known = sql.exec("SELECT 1 FROM lease WHERE boot_id = ?", bootId).toArray().length > 0;
  const { gateway, suspect, sessions, in_transaction, waiting, clients, idle_ms } = said;
  const expires = now + LEASE_TTL_MS;
  sql.exec(
    `INSERT INTO lease VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (boot_id) DO UPDATE SET gateway = ?2,
       renewed_at = ?3, expires_at = ?4, sessions = ?5, in_transaction = ?6, waiting = ?7, clients = ?8, suspect = ?9`,
    bootId,
    gateway,
    now,
    expires,
    sessions,
    in_transaction,
    waiting,
    JSON.stringify(clients),
    suspect?.why ?? null,
  );
  if (sessions > 0 || waiting > 0) active(sql, now);
  else if (idle_ms !== null) active(sql, now - idle_ms);
  planExpiry(sql);
  return !known;
}

/** A gateway has no use for it any more. */
export function release(sql: SqlStorage, bootId: string, idleMs: number | null, now: number): void {
  if (idleMs !== null) active(sql, now - idleMs);
  sql.exec("DELETE FROM lease WHERE boot_id = ?", bootId);
  planExpiry(sql);
}

/** A gateway whose line was hung up on, because its lease ran out over it, has so long to come back, ms. */
const COME_BACK_MS = 10_000;

/**
 * Ends those that were not renewed in time; their clients may have been there until the end. With a line that is open, the gateway is perhaps there
 * and this clock was set forward, or it is not and the line is what is left of it: its line is to be hung up, and it has a moment to come
 * back. Answers whose.
 */
export function expire(sql: SqlStorage, connected: ReadonlySet<string>, now: number): string[] {
  // On a clock that was set back none lasts longer than it would have, and nothing has happened that is still to come.
  sql.exec("UPDATE activity SET at = ?1 WHERE at > ?1", now);
  sql.exec("UPDATE lease SET expires_at = ?1 WHERE expires_at > ?1", now + LEASE_TTL_MS);
  const over = sql.exec<Row>("SELECT * FROM lease WHERE expires_at <= ?", now).toArray();
  if (over.length === 0) return [];
  for (const { boot_id, sessions, waiting, expires_at } of over) {
    if (connected.has(boot_id))
      sql.exec("UPDATE lease SET expires_at = ? WHERE boot_id = ?", now + COME_BACK_MS, boot_id);
    else {
      sql.exec("DELETE FROM lease WHERE boot_id = ?", boot_id);
      if (sessions + waiting > 0) active(sql, Math.min(expires_at, now));
    }
  }
  planExpiry(sql);
  return over.map(({ boot_id }) => boot_id).filter((id) => connected.has(id));
}

/** The timer only moves earlier, or goes: that it rings too early costs less than moving it with each renewal. */
function planExpiry(sql: SqlStorage): void {
  const { at } = sql.exec<{ at: number | null }>("SELECT min(expires_at) AS at FROM lease").one();
  const set = sql.exec<{ due_at: number }>("SELECT due_at FROM timer WHERE name = 'leases'").toArray()[0]?.due_at;
  if (at === null || set === undefined || at < set) setTimer(sql, "leases", at);
}

export function demandOf(sql: SqlStorage, connected: ReadonlySet<string>): Demand {
  const leases = rows(sql).map(
    ({ boot_id, sessions, waiting, expires_at }): LeaseSummary => ({
      boot_id,
      connected: connected.has(boot_id),
      busy: sessions + waiting > 0,
      waiting: waiting > 0,
      expires_at,
    }),
  );
  return { leases: [...leases, ...readerDemand(sql)], last_active_at: lastActive(sql) ?? 0 };
}

export const leaseViews = (sql: SqlStorage, connected: ReadonlySet<string>): LeaseView[] => [
  ...rows(sql).map((row) => ({
    gateway: row.gateway,
    boot_id: row.boot_id,
    connected: connected.has(row.boot_id),
    since: timestamp(row.since),
    renewed_at: timestamp(row.renewed_at),
    expires_at: timestamp(row.expires_at),
    sessions: row.sessions,
    in_transaction: row.in_transaction,
    waiting: row.waiting,
    unreachable: row.suspect,
    clients: (JSON.parse(row.clients) as GatewayClient[]).map((client) => ({
      ...client,
      since: timestamp(client.since),
    })),
  })),
  ...readerViews(sql),
];

/** Whoever waited when it became ready has come in since, though the gateway says so only with its next renewal. */
export const connections = (sql: SqlStorage, isReady: boolean): number =>
  sql.exec<{ n: number | null }>(`SELECT sum(sessions${isReady ? " + waiting" : ""}) AS n FROM lease`).one().n ?? 0;
