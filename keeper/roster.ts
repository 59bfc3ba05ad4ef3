import { join } from "node:path";
import { Database } from "./database.ts";
import { databasePrefix } from "./object-key.ts";
import { Shipper } from "./shipping.ts";
import { type DatabaseState, readState } from "./state.ts";
import type { Surroundings } from "./surroundings.ts";

type Kept = { database: Database; shipper: Shipper };

/** The databases of a keeper. */
export class Roster {
  readonly #around: Surroundings;
  readonly #databases = new Map<string, Promise<Kept>>();

  static async open(around: Surroundings, ids: readonly string[]): Promise<Roster> {
    const roster = new Roster(around);
    for (const id of ids) {
      const state = await readState(join(around.dataDir, "databases", id));
      if (state) await roster.#take(id, state);
    }
    return roster;
  }

  private constructor(around: Surroundings) {
    this.#around = around;
  }

  async all(): Promise<Database[]> {
    return (await Promise.all(this.#databases.values())).map(({ database }) => database);
  }

  async get(id: string): Promise<Database | null> {
    return (await this.#databases.get(id))?.database ?? null;
  }

  /** One that is not known yet is kept from its first promise on. */
  async getOrMake(id: string): Promise<Database> {
    return (await (this.#databases.get(id) ?? this.#take(id, null))).database;
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

  #take(id: string, state: DatabaseState | null): Promise<Kept> {
    const kept = this.#open(id, state);
    this.#databases.set(id, kept);
    kept.catch(() => this.#databases.delete(id));
    return kept;
  }

  async #open(id: string, state: DatabaseState | null): Promise<Kept> {
    const database = await Database.open(this.#around, id, state);
    const shipper = new Shipper(this.#around, database);
    await shipper.readLocal();
    database.shipping = shipper;
    shipper.kick();
    return { database, shipper };
  }
}
