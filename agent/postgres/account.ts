import { chown } from "node:fs/promises";
import { userInfo } from "node:os";
import { type Account, firstAccountOf } from "../process/account.ts";

/** Not the one that the processes of deployments run as, where there is a choice: it could read the data folders. */
const UNPRIVILEGED = ["postgres", "lamplighter", "nobody"];

/** PostgreSQL asks the system for its user's name, and does not start without one. */
export function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    throw new Error(`PostgreSQL needs a user with a name, and user ${process.getuid?.()} is not in /etc/passwd`);
  }
}

/** As whom PostgreSQL runs, which refuses to run as root; null for the agent's own user. Throws a message for a person when there is nobody. */
export async function databaseAccount(): Promise<Account> {
  if (process.getuid?.() !== 0) {
    ownName();
    return null;
  }
  const account = await firstAccountOf(UNPRIVILEGED);
  if (account === null)
    throw new Error(`PostgreSQL does not run as root, and this host has none of the users ${UNPRIVILEGED.join(", ")}`);
  return account;
}

export async function giveTo(account: Account, ...paths: string[]): Promise<void> {
  if (account) for (const path of paths) await chown(path, account.uid, account.gid);
}

/** Options for starting a program as that user. */
export const asUser = (account: Account): { uid?: number; gid?: number } =>
  account === null ? {} : { uid: account.uid, gid: account.gid };
