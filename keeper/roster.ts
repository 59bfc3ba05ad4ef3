import { join } from "node:path";
import { Database } from "./database.ts";
import { isThere } from "./durable-file.ts";
import { databasePrefix } from "./object-key.ts";
import { Shipper } from "./shipping.ts";
import { readState } from "./state.ts";
import type { Surroundings } from "./surroundings.ts";

type Kept = { database: Database; shipper: Shipper };

/** The databases of a keeper. */
export class Roster {
  readonly #around: Surroundings;
  readonly #databases = new Map<string, Promise<Kept>>();

  static async open(around: Surroundings, ids: readonly string[]): Promise<Roster> {
    const roster = new Roster(around);
    const opening = ids.map(async (id) => {
      // One that cannot be read is of no use until it is mended, and the others are.
      if (await readState(stateFolder(around, id)).catch(() => "unreadable")) await roster.#take(id);
    });
    const outcomes = await Promise.allSettled(opening);
    for (const [i, outcome] of outcomes.entries())
      if (outcome.status === "rejected") around.log(`${ids[i]}: cannot be opened: ${outcome.reason}`);
    return roster;
  }

  private constructor(around: Surroundings) {
    this.#around = around;
  }

  async all(): Promise<Database[]> {
    const outcomes = await Promise.allSettled(this.#databases.values());
    return outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.database] : []));
  }

  async get(id: string): Promise<Database | null> {
    const isKept = this.#databases.has(id) || (await isThere(stateFolder(this.#around, id)));
    return isKept ? this.getOrMake(id) : null;
  }

  /** One that is not known yet is kept from its first promise on. */
  async getOrMake(id: string): Promise<Database> {
    return (await (this.#databases.get(id) ?? this.#take(id))).database;
  }

  async remove(id: string): Promise<void> {
    const kept = await this.#databases.get(id);
    if (kept) {
      await kept.shipper.close();
      await kept.database.close();
    }
    for await (const key of this.#around.store.list(databasePrefix(id, this.#around.name)))
      await this.#around.store.remove(key);
    await kept?.database.remove();
    this.#databases.delete(id);
  }

  async close(): Promise<void> {
    for (const kept of this.#databases.values()) {
      const { database, shipper } = await kept;
      await shipper.close();
      await database.close();
    }
  }

  #take(id: string): Promise<Kept> {
    const kept = this.#open(id);
    this.#databases.set(id, kept);
    kept.catch(() => this.#databases.delete(id));
    return kept;
  }

  async #open(id: string): Promise<Kept> {
    const database = await Database.open(this.#around, id, await readState(stateFolder(this.#around, id)));
    const shipper = new Shipper(this.#around, database);
    await shipper.readLocal();
    database.shipping = shipper;
    shipper.kick();
    return { database, shipper };
  }
}

const stateFolder = (around: Surroundings, id: string): string => join(around.dataDir, "databases", id);
