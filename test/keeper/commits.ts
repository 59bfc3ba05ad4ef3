import type { StartOrder } from "../../agent/postgres/writer.ts";
import type { Connection } from "../../postgres/connection.ts";
import { client } from "./postgres-host.ts";

/** Clients that insert one row per transaction, and remember which of them were acknowledged. */
export class Commits {
  readonly acknowledged = new Set<string>();
  #clients: { connection: Connection; done: Promise<void> }[] = [];
  #next = 0;

  async begin(order: StartOrder, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const connection = await client(order);
      this.#clients.push({ connection, done: this.#work(connection, `${order.term}-${i}`) });
    }
  }

  /** The clients are cut off in the middle of whatever they do. */
  async end(): Promise<void> {
    const clients = this.#clients;
    this.#clients = [];
    for (const { connection } of clients) connection.destroy();
    await Promise.all(clients.map(({ done }) => done));
  }

  async #work(connection: Connection, name: string): Promise<void> {
    try {
      for (;;) {
        const row = `${name}-${this.#next++}`;
        await connection.query(`INSERT INTO acknowledged_rows VALUES ('${row}')`);
        this.acknowledged.add(row);
      }
    } catch {
      // Cut off: this row was not acknowledged.
    }
  }
}

export async function missingRows(order: StartOrder, acknowledged: ReadonlySet<string>): Promise<string[]> {
  const connection = await client(order);
  const rows = await connection.query("SELECT id FROM acknowledged_rows");
  connection.end();
  const there = new Set(rows.map(({ id }) => id));
  return [...acknowledged].filter((row) => !there.has(row));
}

export const makeTable = async (order: StartOrder): Promise<void> => {
  const connection = await client(order);
  await connection.query("CREATE TABLE acknowledged_rows (id text PRIMARY KEY)");
  connection.end();
};
