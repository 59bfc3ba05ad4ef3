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

/** Longer than any rollout, ms. */
const LEFT_AFTER_MS = 1_800_000;

/**
 * What a rollout that failed left of an engine that was killed, while another serves on. An engine that still loads has a slot that nobody reads
 * from, too: only one that stays so for longer than a rollout may take is left over.
 */
export class LeftSlots {
  readonly #own: string;
  readonly #instance: string;
  /** ms since 1970. */
  readonly #idleSince = new Map<string, number>();

  constructor(own: string, instance: string) {
    this.#own = own;
    this.#instance = instance;
  }

  async look(client: pg.Client, now: number): Promise<void> {
    const idle = (await slotsOf(client, this.#instance, "AND NOT active")).filter((slot) => slot !== this.#own);
    for (const slot of this.#idleSince.keys()) if (!idle.includes(slot)) this.#idleSince.delete(slot);
    for (const slot of idle) {
      const since = this.#idleSince.get(slot) ?? now;
      this.#idleSince.set(slot, since);
      if (now - since >= LEFT_AFTER_MS) await dropSlot(client, slot);
    }
  }
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

async function slotsOf(client: pg.Client, instance: string, which: "" | "AND NOT active" = ""): Promise<string[]> {
  const { rows } = await client.query(
    `SELECT slot_name::text AS slot FROM pg_replication_slots WHERE slot_name ~ $1 ${which}`,
    [slotPattern(instance)],
  );
  return (rows as { slot: string }[]).map(({ slot }) => slot);
}

const codeOf = (error: unknown): string | undefined => (error as { code?: string }).code;
