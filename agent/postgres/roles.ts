import { READER_ROLE } from "../../contract/database-reader.ts";
import type { Naming } from "../../contract/writer.ts";
import type { Connection } from "../../postgres/connection.ts";
import { identifier, literal } from "../../postgres/replication/commands.ts";
import { REPLICATION_USER, SUPERUSER } from "./parameters.ts";
import { UNCLAIMED } from "./template.ts";

/** Names that a user's role must not have. */
export const isReservedRole = (role: string): boolean =>
  role.startsWith("pg_") || [SUPERUSER, REPLICATION_USER, READER_ROLE, UNCLAIMED, "public", "none"].includes(role);

const RESERVED_DATABASES = ["postgres", "template0", "template1"];

/**
 * The password by which the keepers get in. It is set before they follow, so it cannot wait for them; the log brings it to them a moment later.
 */
export async function setReplicationVerifier(connection: Connection, verifier: string): Promise<void> {
  if ((await verifiersOf(connection)).get(REPLICATION_USER) === verifier) return;
  await connection.query("SET synchronous_commit = local");
  await connection.query(`ALTER ROLE ${REPLICATION_USER} PASSWORD ${literal(verifier)}`);
  await connection.query("RESET synchronous_commit");
}

/**
 * Makes the one database of users and its owner be called as they should, from whatever they were called: in a template, or in another database
 * that this one began as. Writes nothing when all is as it should be.
 */
export async function nameDatabase(connection: Connection, { name, owner }: Naming): Promise<void> {
  if (isReservedRole(owner.role)) throw new Error(`the role name ${owner.role} is reserved`);
  if (RESERVED_DATABASES.includes(name)) throw new Error(`the database name ${name} is reserved`);
  const found = await connection.query(
    `SELECT datname, pg_get_userbyid(datdba) AS owner FROM pg_database
     WHERE datname NOT IN (${RESERVED_DATABASES.map(literal).join(", ")})`,
  );
  const [present, ...more] = found;
  if (!present?.datname || !present.owner || more.length > 0)
    throw new Error(`the cluster has ${found.length} databases of users instead of one`);
  if (present.owner !== owner.role)
    await connection.query(`ALTER ROLE ${identifier(present.owner)} RENAME TO ${identifier(owner.role)}`);
  if ((await verifiersOf(connection)).get(owner.role) !== owner.verifier)
    await connection.query(`ALTER ROLE ${identifier(owner.role)} LOGIN PASSWORD ${literal(owner.verifier)}`);
  if (present.datname !== name)
    await connection.query(`ALTER DATABASE ${identifier(present.datname)} RENAME TO ${identifier(name)}`);
}

async function verifiersOf(connection: Connection): Promise<Map<string, string | null>> {
  const rows = await connection.query("SELECT rolname, rolpassword FROM pg_authid");
  return new Map(rows.map(({ rolname, rolpassword }) => [rolname ?? "", rolpassword ?? null]));
}
