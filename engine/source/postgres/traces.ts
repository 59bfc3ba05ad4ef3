import type pg from "pg";
import type { SourceConnection } from "../../../contract/engine.ts";
import { publicationRemoval, slotPattern } from "../../../contract/source-traces.ts";
import { connectPostgres } from "../connect.ts";
import { sourceFailure } from "../failure.ts";

/** What engines make at a PostgreSQL, and how it goes. */

/** Ends whoever reads from a slot, and drops it. One that is not there is as good. */
export async function dropSlot(client: pg.Client, slot: string): Promise<void> {
  await client.query(
    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL",
    [slot],
  );
  for (let attempt = 0; ; attempt++) {
    try {
      await client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", [
        slot,
      ]);
      return;
    } catch (error) {
      if (attempt === 20 || codeOf(error) !== "55006") throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** Of an instance: those that nobody reads from. */
export async function dropIdleSlots(client: pg.Client, instance: string): Promise<void> {
  await client.query(
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ $1 AND NOT active",
    [slotPattern(instance)],
  );
}

/** Takes away what engines of an instance, of which none runs any more, have left. Answers the statements for what this user may not. */
export async function releasePostgres(source: SourceConnection, instance: string): Promise<string[]> {
  const left: string[] = [];
  const client = await connectPostgres(source);
  try {
    for (const slot of await slotsOf(client, instance))
      left.push(...(await attempt(`SELECT pg_drop_replication_slot('${slot}')`, () => dropSlot(client, slot))));
    return [...left, ...(await dropPublication(client, instance))];
  } catch (error) {
    throw sourceFailure(error, "stream_disconnected");
  } finally {
    client.end().catch(() => {});
  }
}

/** Takes away the publication of an instance of which no engine has a slot any more; null when one has. Answers as `releasePostgres`. */
export async function releaseUnused(source: SourceConnection, instance: string): Promise<string[] | null> {
  const client = await connectPostgres(source);
  try {
    return (await slotsOf(client, instance)).length > 0 ? null : await dropPublication(client, instance);
  } finally {
    client.end().catch(() => {});
  }
}

function dropPublication(client: pg.Client, instance: string): Promise<string[]> {
  const drop = publicationRemoval(instance);
  return attempt(drop, () => client.query(drop));
}

/** Answers the statement when this user may not. */
async function attempt(statement: string, work: () => Promise<unknown>): Promise<string[]> {
  try {
    await work();
    return [];
  } catch (error) {
    if (codeOf(error) !== "42501") throw error;
    return [statement];
  }
}

async function slotsOf(client: pg.Client, instance: string): Promise<string[]> {
  const { rows } = await client.query("SELECT slot_name::text AS slot FROM pg_replication_slots WHERE slot_name ~ $1", [
    slotPattern(instance),
  ]);
  return (rows as { slot: string }[]).map(({ slot }) => slot);
}

const codeOf = (error: unknown): string | undefined => (error as { code?: string }).code;
