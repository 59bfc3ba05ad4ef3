import { READER_ROLE, type ReaderOrder } from "../../contract/database-reader.ts";
import type { Naming } from "../../contract/writer.ts";
import type { Connection } from "../../postgres/connection.ts";
import { identifier, literal } from "../../postgres/replication/commands.ts";
import type { Postmaster } from "./postmaster.ts";

/**
 * The role as which engines read from a database: with its owner's rights, as only an owner of tables may publish them, and with the right to
 * follow the log, which no user has. Made and removed in a running writer. Writes nothing when all is as it should be.
 */
export async function setReader(postmaster: Postmaster, reader: ReaderOrder | null, naming: Naming): Promise<void> {
  const connection = await postmaster.connect("postgres");
  try {
    const owner = identifier(naming.owner.role);
    const [known] = await connection.query(
      `SELECT rolpassword, pg_has_role(rolname, ${literal(naming.owner.role)}, 'USAGE') AS member FROM pg_authid WHERE rolname = ${literal(READER_ROLE)}`,
    );
    if (reader === null) {
      if (known !== undefined) await remove(postmaster, connection, naming);
      return;
    }
    const role = `${READER_ROLE} LOGIN REPLICATION INHERIT PASSWORD ${literal(reader.verifier)}`;
    if (known === undefined) await connection.query(`CREATE ROLE ${role}; GRANT ${owner} TO ${READER_ROLE}`);
    else if (known.rolpassword !== reader.verifier || known.member !== "t")
      await connection.query(`ALTER ROLE ${role}; GRANT ${owner} TO ${READER_ROLE}`);
  } finally {
    connection.end();
  }
}

/** With its slots, for which the log would be kept for ever, and its publications. */
async function remove(postmaster: Postmaster, connection: Connection, { name }: Naming): Promise<void> {
  await connection.query(`ALTER ROLE ${READER_ROLE} NOLOGIN`);
  await endReaders(connection);
  await connection.query(
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT active",
  );
  const there = await postmaster.connect(name);
  // What still hangs on it stays with it, and lets nobody in; the next start tries again.
  await there
    .query(`DROP OWNED BY ${READER_ROLE}; DROP ROLE ${READER_ROLE}`)
    .catch(() => {})
    .finally(() => there.end());
}

/** Before a stop: PostgreSQL would wait for them to have taken all that there is. They go on from where they were once it wakes. */
export async function letReadersGo(postmaster: Postmaster): Promise<void> {
  const connection = await postmaster.connect("postgres");
  await endReaders(connection).finally(() => connection.end());
}

const GONE_WITHIN_MS = 1_000;

/** Ends their sessions. */
export async function endReaders(connection: Connection): Promise<void> {
  const theirs = `FROM pg_stat_activity WHERE usename = ${literal(READER_ROLE)}`;
  await connection.query(`SELECT pg_terminate_backend(pid) ${theirs}`);
  for (const until = performance.now() + GONE_WITHIN_MS; performance.now() < until; ) {
    const [there] = await connection.query(`SELECT 1 AS one ${theirs} LIMIT 1`);
    if (there === undefined) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
