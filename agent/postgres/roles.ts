import type { Connection } from "../../postgres/connection.ts";
import { identifier, literal } from "../../postgres/replication/commands.ts";
import { REPLICATION_USER, SUPERUSER } from "./parameters.ts";
import { UNCLAIMED } from "./template.ts";

export type Login = {
  role: string /** What PostgreSQL keeps instead of the password: SCRAM-SHA-256$… */;
  verifier: string;
};

/** What users see of a database. `owner` owns it; the other logins act as the owner. */
export type Naming = { name: string; owner: Login; logins?: readonly Login[] | undefined };

/** Names that a user's role must not have. */
export const isReservedRole = (role: string): boolean =>
  role.startsWith("pg_") || [SUPERUSER, REPLICATION_USER, UNCLAIMED, "public", "none"].includes(role);

/**
 * The password by which the keepers get in. It is set before they follow, so it cannot wait for them; the log brings it to them a moment later.
 */
export async function setReplicationVerifier(connection: Connection, verifier: string): Promise<void> {
  if ((await verifiersOf(connection)).get(REPLICATION_USER) === verifier) return;
  await connection.query("SET synchronous_commit = local");
  await connection.query(`ALTER ROLE ${REPLICATION_USER} PASSWORD ${literal(verifier)}`);
  await connection.query("RESET synchronous_commit");
}

/** Makes the database, its owner and its logins be what they should be. Writes nothing when they are. */
export async function nameDatabase(connection: Connection, { name, owner, logins = [] }: Naming): Promise<void> {
  for (const { role } of [owner, ...logins])
    if (isReservedRole(role)) throw new Error(`the role name ${role} is reserved`);
  const known = await verifiersOf(connection);
  const databases = (await connection.query("SELECT datname FROM pg_database")).map(({ datname }) => datname);
  if (!known.has(owner.role)) {
    if (known.has(UNCLAIMED)) await connection.query(`ALTER ROLE ${UNCLAIMED} RENAME TO ${identifier(owner.role)}`);
    else await connection.query(`CREATE ROLE ${identifier(owner.role)}`);
  }
  if (known.get(owner.role) !== owner.verifier)
    await connection.query(`ALTER ROLE ${identifier(owner.role)} LOGIN PASSWORD ${literal(owner.verifier)}`);
  for (const { role, verifier } of logins) {
    if (!known.has(role)) {
      await connection.query(`CREATE ROLE ${identifier(role)} IN ROLE ${identifier(owner.role)}`);
      await connection.query(`ALTER ROLE ${identifier(role)} SET role = ${identifier(owner.role)}`);
    }
    if (known.get(role) !== verifier)
      await connection.query(`ALTER ROLE ${identifier(role)} LOGIN PASSWORD ${literal(verifier)}`);
  }
  for (const role of await loginsOf(connection, owner.role))
    if (!logins.some((login) => login.role === role)) await connection.query(`DROP ROLE ${identifier(role)}`);
  if (databases.includes(name)) return;
  if (databases.includes(UNCLAIMED))
    await connection.query(`ALTER DATABASE ${UNCLAIMED} RENAME TO ${identifier(name)}`);
  else await connection.query(`CREATE DATABASE ${identifier(name)} OWNER ${identifier(owner.role)}`);
}

async function verifiersOf(connection: Connection): Promise<Map<string, string | null>> {
  const rows = await connection.query("SELECT rolname, rolpassword FROM pg_authid");
  return new Map(rows.map(({ rolname, rolpassword }) => [rolname ?? "", rolpassword ?? null]));
}

/** The roles that were made to act as the owner. They own nothing themselves. */
async function loginsOf(connection: Connection, owner: string): Promise<string[]> {
  const rows = await connection.query(
    `SELECT r.rolname FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
     WHERE s.setdatabase = 0 AND ${literal(`role=${owner}`)} = ANY (s.setconfig)`,
  );
  return rows.flatMap(({ rolname }) => rolname ?? []);
}
