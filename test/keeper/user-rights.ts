// What the role that clients log in as may not do.
import { statSync } from "node:fs";
import { expect } from "vitest";
import type { StartOrder } from "../../agent/postgres/writer.ts";
import { client } from "./postgres-host.ts";

export async function expectNoRights(order: StartOrder, postmaster: number): Promise<void> {
  const sql = await client(order);
  for (const statement of [
    "ALTER SYSTEM SET fsync = off",
    "SET session_replication_role = replica",
    "CREATE ROLE other SUPERUSER",
    "ALTER ROLE shop_owner REPLICATION",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/there'",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_create_physical_replication_slot('mine')",
    "SELECT pg_switch_wal()",
    "SELECT pg_reload_conf()",
    "SET ROLE lamplighter",
    "CREATE DATABASE another",
  ])
    await expect(sql.query(statement), statement).rejects.toThrow(/permission denied|must be|only roles|not allowed/i);
  await sql.query("CREATE SCHEMA mine; CREATE TABLE mine.t (i int); CREATE EXTENSION pgcrypto").catch((error) => {
    // The programs of the npm package come without extensions.
    expect(error.message).toContain("pgcrypto");
  });
  const [uid] = await sql.query("SELECT current_setting('is_superuser') AS superuser");
  expect(uid).toEqual({ superuser: "off" });
  sql.end();
  for (const database of ["postgres", "template1"])
    await expect(client({ ...order, naming: { ...order.naming, name: database } })).rejects.toThrow(
      /permission denied/,
    );
  for (const role of ["lamplighter", "lamplighter_keeper"]) {
    const owner = { role, verifier: "" };
    await expect(client({ ...order, naming: { ...order.naming, owner } }), role).rejects.toThrow(/pg_hba|reject/);
  }
  if (process.platform === "linux" && process.getuid?.() === 0) expect(statSync(`/proc/${postmaster}`).uid).not.toBe(0);
}
