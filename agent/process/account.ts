import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { WorkloadSpec } from "../../contract/workload.ts";

const run = promisify(execFile);

/** Whom a program runs as. Null: as the agent's own user. */
export type Account = { uid: number; gid: number } | null;

/** The user that programs run as when the agent is root and the specification names none, in order of preference. */
const UNPRIVILEGED = ["lamplighter", "nobody"];

/** Whom this program runs as; a text is why it cannot be. */
export async function accountFor(user: WorkloadSpec["user"]): Promise<{ account: Account } | { fault: string }> {
  // Not by name: in a container its user need not have one.
  const own = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (own.uid !== 0) {
    if (user.id !== null && user.id !== own.uid) {
      return {
        fault: `user.id: the agent runs as user ${own.uid}, and only an agent of user 0 can start a process as user ${user.id}`,
      };
    }
    if (user.group !== null && user.group !== own.gid) {
      return {
        fault: `user.group: the agent runs as group ${own.gid}, and only an agent of user 0 can start a process as group ${user.group}`,
      };
    }
    return { account: null };
  }
  if (user.id !== null)
    return { account: { uid: user.id, gid: user.group ?? (await groupOf(String(user.id))) ?? user.id } };
  const account = await firstAccountOf(UNPRIVILEGED);
  if (account) return { account: { uid: account.uid, gid: user.group ?? account.gid } };
  return {
    fault: `user.id: the agent is root and this host has none of the users ${UNPRIVILEGED.join(", ")} to run a program as`,
  };
}

/** The first of these users that this host has and that is not root. */
export async function firstAccountOf(names: readonly string[]): Promise<NonNullable<Account> | null> {
  for (const name of names) {
    const uid = await idOf("-u", name);
    const gid = await groupOf(name);
    if (uid !== null && gid !== null && uid > 0) return { uid, gid };
  }
  return null;
}

const known = new Map<string, number>();

async function idOf(flag: "-u" | "-g", user: string): Promise<number | null> {
  const key = `${flag} ${user}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const fromFile = await idInPasswd(flag, user);
  const id =
    fromFile ??
    (await run("id", [flag, user])
      .then(({ stdout }) => Number(stdout.trim()))
      .catch(() => null));
  if (id !== null) known.set(key, id);
  return id;
}

async function idInPasswd(flag: "-u" | "-g", user: string): Promise<number | null> {
  const lines = (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n").map((line) => line.split(":"));
  const line = lines.find(([name, , uid]) => name === user || uid === user);
  const text = line?.[flag === "-u" ? 2 : 3];
  return text === undefined ? null : Number(text);
}

const groupOf = (user: string): Promise<number | null> => idOf("-g", user);

/** Whether this user can go down to a folder: that every folder above it, and it, lets them pass. */
export async function canReach(path: string, account: Account): Promise<boolean> {
  if (account === null) return true;
  const { uid, gid, mode } = await stat(path);
  const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  if ((mode & bit) === 0) return false;
  const parent = dirname(path);
  return parent === path || canReach(parent, account);
}

/** Whether this user can read a file. */
export async function canRead(path: string, account: Account): Promise<boolean> {
  if (account === null) return true;
  const { uid, gid, mode } = await stat(path);
  const bit = uid === account.uid ? 0o400 : gid === account.gid ? 0o040 : 0o004;
  return (mode & bit) !== 0 && canReach(dirname(path), account);
}
