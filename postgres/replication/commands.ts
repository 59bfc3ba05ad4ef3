import type { Connection } from "../connection.ts";
import { type Lsn, parseLsn } from "../lsn.ts";
import { ServerError } from "../message.ts";

// The commands that a connection opened with `replication: "physical"` understands.

export type System = { identifier: string; timeline: number; flushedTo: Lsn };

export async function identifySystem(connection: Connection): Promise<System> {
  const [row] = await connection.query("IDENTIFY_SYSTEM");
  if (!row?.systemid || !row.timeline || !row.xlogpos) throw new Error("the server does not say what it is");
  return { identifier: row.systemid, timeline: Number(row.timeline), flushedTo: parseLsn(row.xlogpos) };
}

/** A setting's value; null when the server has none of that name. */
export async function show(connection: Connection, setting: string): Promise<string | null> {
  try {
    const [row] = await connection.query(`SHOW ${setting}`);
    return Object.values(row ?? {})[0] ?? null;
  } catch (error) {
    if (error instanceof ServerError && error.code === "42704") return null;
    throw error;
  }
}

/** The text of a timeline's history file. */
export async function timelineHistory(connection: Connection, timeline: number): Promise<string> {
  const [row] = await connection.query(`TIMELINE_HISTORY ${timeline}`);
  return row?.content ?? "";
}

/** Makes the server keep the log from here on until it was confirmed, unless it does already. */
export async function ensureSlot(connection: Connection, slot: string): Promise<void> {
  try {
    await connection.query(`CREATE_REPLICATION_SLOT ${identifier(slot)} PHYSICAL RESERVE_WAL`);
  } catch (error) {
    if (!(error instanceof ServerError && error.code === "42710")) throw error;
  }
}

export async function dropSlot(connection: Connection, slot: string): Promise<void> {
  await connection.query(`DROP_REPLICATION_SLOT ${identifier(slot)}`);
}

export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
