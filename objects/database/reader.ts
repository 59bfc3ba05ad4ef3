import type { LeaseView } from "../../contract/database.ts";
import { READER_ROLE, type ReaderOrder, type SourceNeed, type SourceStanding } from "../../contract/database-reader.ts";
import type { DatabaseState, Wake } from "../../contract/database-state.ts";
import { toBase64Url } from "../../contract/envelope.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import { credentials, rolpassword, SCRAM_ITERATIONS } from "../../contract/scram.ts";
import type { Sealed } from "../../contract/sealed.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { setTimer } from "../alarm.ts";
import { post } from "../outbox.ts";
import { seal } from "../sealing.ts";
import { active } from "./activity.ts";
import { newCredentialId } from "./credential.ts";
import type { LeaseSummary } from "./draft.ts";
import type { DatabaseRecord } from "./record.ts";

/**
 * Engines that read from this database: the role as which they do, who wants to be told when it wakes and sleeps, and who needs it awake. That an
 * engine follows it keeps it awake no more than a gateway's lease without clients does. Call what writes inside `commit`.
 */

/** Who keeps it awake is asked so often whether that still holds, and is given so long to answer, ms. */
const CHECK_EVERY_MS = 300_000;
const ANSWERS_WITHIN_MS = 60_000;

export type ReaderRole = { credential: string; verifier: string; password: Sealed };
type Row = { holder: string; follows: number; reason: string | null; since: number; check_at: number };

const rows = (sql: SqlStorage): Row[] => sql.exec<Row>("SELECT * FROM reader ORDER BY since, holder").toArray();
const awake = (sql: SqlStorage): (Row & { reason: string })[] =>
  rows(sql).filter((row): row is Row & { reason: string } => row.reason !== null);

/** Draws what engines are to log in with. */
export async function newReaderRole(
  env: { SECRET_KEYS?: string },
  databaseId: string,
  now: number,
): Promise<Reply<ReaderRole>> {
  const password = toBase64Url(crypto.getRandomValues(new Uint8Array(24)));
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const sealed = await seal(env, password, `database-reader:${databaseId}`);
  if (!sealed.ok) return sealed;
  const { verifier } = await credentials(newCredentialId(now), password, { salt, iterations: SCRAM_ITERATIONS });
  return accept({
    credential: verifier.id,
    verifier: rolpassword(verifier, btoa(String.fromCharCode(...salt)), SCRAM_ITERATIONS),
    password: sealed.value,
  });
}

export const readerRole = (sql: SqlStorage): ReaderRole | null =>
  sql.exec<ReaderRole>("SELECT credential, verifier, password FROM reader_role").toArray()[0] ?? null;

/** What a writer is to have for them. */
export function readerOrder(sql: SqlStorage): ReaderOrder | null {
  const role = readerRole(sql);
  return role && { credential: role.credential, verifier: role.verifier };
}

/** A connection leads here from now on. */
export function attach(sql: SqlStorage, connectionId: string, role: ReaderRole, now: number): void {
  sql.exec("INSERT INTO reader_connection VALUES (?, ?) ON CONFLICT (id) DO NOTHING", connectionId, now);
  sql.exec(
    "INSERT INTO reader_role VALUES (1, ?, ?, ?) ON CONFLICT (one) DO NOTHING",
    role.credential,
    role.verifier,
    role.password,
  );
}

export function detach(sql: SqlStorage, connectionId: string, now: number): void {
  sql.exec("DELETE FROM reader_connection WHERE id = ?", connectionId);
  want(sql, connectionId, null, now);
  if (sql.exec("SELECT 1 FROM reader_connection LIMIT 1").toArray().length === 0) sql.exec("DELETE FROM reader_role");
}

/** Takes what somebody needs of it, null: nothing any more. Answers whether that is news. */
export function want(sql: SqlStorage, holder: string, need: SourceNeed | null, now: number): boolean {
  const known = rows(sql).find((row) => row.holder === holder);
  if (known?.reason != null && need?.reason == null) active(sql, now);
  if (need === null || (!need.follows && need.reason === null)) sql.exec("DELETE FROM reader WHERE holder = ?", holder);
  else
    sql.exec(
      "INSERT INTO reader VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (holder) DO UPDATE SET follows = ?2, reason = ?3, since = ?4, check_at = ?5",
      holder,
      need.follows ? 1 : 0,
      need.reason,
      known?.reason === need.reason ? known.since : now,
      now + CHECK_EVERY_MS,
    );
  plan(sql);
  return known?.reason !== need?.reason || (known?.follows === 1) !== (need?.follows ?? false);
}

/** Asks those whose time has come. Who does not answer is let go. */
export function check(sql: SqlStorage, now: number): void {
  for (const { holder, check_at } of awake(sql)) {
    if (check_at > now) continue;
    post(sql, `need ${holder}`, now);
    sql.exec("UPDATE reader SET check_at = ? WHERE holder = ?", now + ANSWERS_WITHIN_MS, holder);
  }
  plan(sql);
}

function plan(sql: SqlStorage): void {
  const times = awake(sql).map(({ check_at }) => check_at);
  setTimer(sql, "readers", times.length > 0 ? Math.min(...times) : null);
}

/** Those who need it awake, as leases that are busy. */
export const readerDemand = (sql: SqlStorage): LeaseSummary[] =>
  awake(sql).map(({ holder, check_at }) => ({
    ...{ boot_id: holder, connected: true, busy: true, waiting: false, expires_at: check_at },
  }));

/** The same as leases are shown. */
export const readerViews = (sql: SqlStorage): LeaseView[] =>
  awake(sql).map(({ holder, reason, since, check_at }) => ({
    gateway: holder.startsWith("conn_") ? "connection" : "instance",
    boot_id: holder,
    connected: true,
    since: timestamp(since),
    renewed_at: timestamp(check_at - CHECK_EVERY_MS),
    expires_at: timestamp(check_at),
    sessions: 1,
    in_transaction: 0,
    waiting: 0,
    unreachable: null,
    clients: [
      { address: holder, application_name: reason, role: READER_ROLE, since: timestamp(since), phase: "active" },
    ],
  }));

/** Who is told when it wakes and sleeps. */
export const followers = (sql: SqlStorage): string[] =>
  rows(sql).flatMap(({ holder, follows }) => (follows === 1 ? [holder] : []));

export const readerWake = (holder: string, reason: string, at: number): Wake => ({
  ...{ at, cause: "reader", gateway: null, client: { address: holder, application_name: reason } },
});

/** Whether it can be read now, and where. */
export function standingOf({ state, revision }: Pick<DatabaseRecord, "state" | "revision">): SourceStanding {
  return { revision, term: state.term, at: addressOf(state) };
}

function addressOf(state: DatabaseState): SourceStanding["at"] {
  if (state.status !== "ready" || state.reader === null) return null;
  const at = state.backend.lastIndexOf(":");
  return { host: state.backend.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(state.backend.slice(at + 1)) };
}

/** Whether those who follow it have something new to hear. */
export const isNews = (before: DatabaseState, after: DatabaseState): boolean =>
  before.term !== after.term || JSON.stringify(addressOf(before)) !== JSON.stringify(addressOf(after));
