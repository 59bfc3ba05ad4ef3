import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { type Attempts, FORGOTTEN_MS, failed, openAt, SLOWING } from "./decide.ts";

const FAMILIAR_MS = 90 * 86_400_000;
const FORGOTTEN_AT_ONCE = 100;

/** Under what an attempt is counted. */
export type Subjects = { name: string; address: string | null };

/**
 * What a failure of this login will count against: its username and its address; where the user has logged in from that address before,
 * the two together, so that a stranger elsewhere cannot slow them down.
 */
export function subjectsOf(sql: SqlStorage, username: string, userId: string | null, address: string | null): Subjects {
  const isFamiliar =
    userId !== null &&
    address !== null &&
    sql.exec("SELECT 1 FROM familiar WHERE user_id = ? AND address = ?", userId, address).toArray().length > 0;
  const name = username.toLowerCase();
  return {
    name: isFamiliar ? `user ${userId} at ${address}` : `name ${name}`,
    address: address === null ? null : `address ${address}`,
  };
}

/** Counts an attempt as failed until it is known better; refused while one of its subjects has to wait. Call it inside `commit`. */
export function begin(sql: SqlStorage, { name, address }: Subjects, now: number): Reply<null> {
  const byName = attemptsOf(sql, name);
  const byAddress = address === null ? null : attemptsOf(sql, address);
  const at = Math.max(openAt(byName, SLOWING.user, now), openAt(byAddress, SLOWING.address, now));
  if (at > now) {
    const retry_after = Math.ceil((at - now) / 1000);
    return refuse("too_many_attempts", `Too many wrong passwords: the next attempt is taken in ${retry_after} s.`, {
      more: { retry_after },
    });
  }
  keep(sql, name, failed(byName, now));
  if (address !== null) keep(sql, address, failed(byAddress, now));
  sql.exec(
    "DELETE FROM attempt WHERE subject IN (SELECT subject FROM attempt WHERE at <= ? LIMIT ?)",
    now - FORGOTTEN_MS,
    FORGOTTEN_AT_ONCE,
  );
  return accept(null);
}

/** It did not fail: the user starts anew, and of the address only this one attempt is taken back, since others may be behind it. */
export function succeed(sql: SqlStorage, { name, address }: Subjects): void {
  sql.exec("DELETE FROM attempt WHERE subject = ?", name);
  if (address !== null)
    sql.exec("UPDATE attempt SET failures = failures - 1 WHERE subject = ? AND failures > 0", address);
}

export function becomeFamiliar(sql: SqlStorage, userId: string, address: string | null, now: number): void {
  if (address === null) return;
  sql.exec("DELETE FROM familiar WHERE user_id = ? AND at <= ?", userId, now - FAMILIAR_MS);
  sql.exec(
    "INSERT INTO familiar VALUES (?1, ?2, ?3) ON CONFLICT (user_id, address) DO UPDATE SET at = ?3",
    userId,
    address,
    now,
  );
}

const attemptsOf = (sql: SqlStorage, subject: string): Attempts | null =>
  sql.exec<Attempts>("SELECT failures, at FROM attempt WHERE subject = ?", subject).toArray()[0] ?? null;

function keep(sql: SqlStorage, subject: string, { failures, at }: Attempts): void {
  sql.exec("INSERT OR REPLACE INTO attempt VALUES (?, ?, ?)", subject, failures, at);
}
