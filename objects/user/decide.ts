import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { holds, type Principal } from "../../contract/scope.ts";
import { ROLE_SCOPES, type Role, type UserUpdate } from "../../contract/user.ts";

/** Whether the principal may make a user of this role: nobody hands out more than they have, and a user may see every namespace. */
export function permitCreation(by: Principal, role: Role): Reply<null> {
  if (by.namespaces.length > 0) return needsAll("make users");
  const beyond = ROLE_SCOPES[role].find((scope) => !holds(by, scope));
  return beyond === undefined
    ? accept(null)
    : refuse("insufficient_scope", `Your token has not the scope ${beyond}, so it cannot make ${role}s.`, {
        more: { required_scope: beyond },
      });
}

/**
 * Whether the principal may change the user: an admin, or the user in a session of their own. A token that a user made does not count as
 * the user: with a new password it could log in, and may then do more than it was given.
 */
export function permitChange(by: Principal, id: string, { role }: UserUpdate): Reply<null> {
  const isSelf = by.session === true && by.user_id === id;
  return isSelf && role == null ? accept(null) : permitAdmin(by, "change other users, or a role");
}

export function permitDeletion(by: Principal, id: string): Reply<null> {
  if (by.user_id === id) return refuse("not_permitted", "Nobody can delete themselves: ask another admin.");
  return permitAdmin(by, "delete users");
}

function permitAdmin(by: Principal, to: string): Reply<null> {
  if (!holds(by, "admin"))
    return refuse("insufficient_scope", `Only an admin may ${to}.`, { more: { required_scope: "admin" } });
  return by.namespaces.length > 0 ? needsAll(to) : accept(null);
}

const needsAll = (to: string): Reply<never> =>
  refuse("namespace_not_permitted", `Your token is for some namespaces only, so it cannot ${to}.`);

/** Whether a user who is (or is no more) an admin may become what they are to become; `others`: how many more admins there are. */
export const keepsAnAdmin = (before: Role, after: Role | null, others: number): Reply<null> =>
  before === "admin" && after !== "admin" && others === 0
    ? refuse("last_admin", `Cannot ${after === null ? "delete" : "demote"} the last admin`)
    : accept(null);

/** Failed logins of one subject: how many in a row, and when the last one was. */
export type Attempts = { failures: number; at: number };
type Slowing = { free: number; first_ms: number; most_ms: number };

/**
 * How failures slow down. A username's delay stays short, since it is a stranger who can cause it; an address that knows no password is held
 * off longer. Behind one address there may be many people, so it has more attempts free.
 */
export const SLOWING = {
  user: { free: 5, first_ms: 1_000, most_ms: 60_000 },
  address: { free: 20, first_ms: 1_000, most_ms: 900_000 },
} as const satisfies Record<string, Slowing>;

/** Without another one for so long, failures are forgotten, ms. */
export const FORGOTTEN_MS = 3_600_000;

/** When the next attempt is taken; now or earlier means at once. */
export function openAt(attempts: Attempts | null, { free, first_ms, most_ms }: Slowing, now: number): number {
  if (attempts === null || attempts.failures < free || isForgotten(attempts, now)) return 0;
  return attempts.at + Math.min(first_ms * 2 ** (attempts.failures - free), most_ms);
}

/** One more failure. Attempts count as failed when they begin: what is cut short, or made many at a time, counts too. */
export const failed = (attempts: Attempts | null, now: number): Attempts => ({
  failures: attempts === null || isForgotten(attempts, now) ? 1 : attempts.failures + 1,
  // A clock that was set back does not hold anybody off until it is where it was.
  at: now,
});

const isForgotten = ({ at }: Attempts, now: number): boolean => now - at >= FORGOTTEN_MS || now < at;
