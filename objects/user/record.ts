import type { AuditEntry } from "../../contract/event.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import type { Answer } from "../../contract/request.ts";
import { timestamp } from "../../contract/timestamp.ts";
import type { Role, UserView } from "../../contract/user.ts";
import { type By, entryOf, type IndexRow } from "../projection.ts";

/** The UserDirectoryObject's name. */
export const USER_DIRECTORY = "cluster";

export type UserRecord = {
  id: string;
  /** Null when deleted, until the lists know it. */
  username: string | null;
  role: Role;
  /** What `hashPassword` made. */
  password: string;
  created_at: number;
  updated_at: number | null;
  login_at: number | null;
  revision: number;
  version: number;
};

/** A session that may now be made, under this id. */
export type Opened = { user: UserView; token_id: string; expires_at: number };

export const one = (sql: SqlStorage, id: string): UserRecord | null =>
  sql.exec<UserRecord>("SELECT * FROM user WHERE id = ?", id).toArray()[0] ?? null;

export const named = (sql: SqlStorage, username: string): UserRecord | null =>
  sql.exec<UserRecord>("SELECT * FROM user WHERE username = ?", username).toArray()[0] ?? null;

export const otherAdmins = (sql: SqlStorage, id: string): number =>
  sql
    .exec<{ n: number }>("SELECT count(*) AS n FROM user WHERE role = 'admin' AND username IS NOT NULL AND id <> ?", id)
    .one().n;

export function save(sql: SqlStorage, u: UserRecord): void {
  sql.exec(
    "INSERT OR REPLACE INTO user VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    u.id,
    u.username,
    u.role,
    u.password,
    u.created_at,
    u.updated_at,
    u.login_at,
    u.revision,
    u.version,
  );
}

export const view = (u: UserRecord): UserView => ({
  id: u.id,
  username: u.username ?? "",
  role: u.role,
  status: "active",
  created_at: timestamp(u.created_at),
  updated_at: timestamp(u.updated_at),
  login_at: timestamp(u.login_at),
  revision: u.revision,
});

export const answerOf = (user: UserRecord, status: 200 | 201 = 200): Reply<Answer> =>
  accept({ status, body: JSON.stringify(view(user)), revision: user.revision });

export const indexRow = (u: UserRecord): IndexRow => ({
  kind: "user",
  id: u.id,
  namespace: null,
  name: u.username ?? "",
  status: "active",
  type: u.role,
  labels: {},
  passing: false,
  version: u.version,
  body: u.username === null ? null : JSON.stringify(view(u)),
});

/** A login leaves the revision as it is: `version` tells its entries apart. */
export const auditEntry = (
  u: UserRecord,
  username: string,
  action: string,
  before: number | null,
  by: By,
  now: number,
): AuditEntry => ({
  ...entryOf(
    { kind: "user", id: u.id, name: username, namespace: null },
    action,
    by,
    now,
    before,
    u.username === null ? null : u.revision,
  ),
  id: `${u.id}:${action}:${u.version}`,
});
