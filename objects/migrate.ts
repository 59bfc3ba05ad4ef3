import machinery0001 from "../migrations/machinery/0001_create.sql";

/** One step of an object's schema. Steps are only ever appended; what was applied must be a prefix of the list. */
export type Migration = { id: string; sql: string };

const MACHINERY: readonly Migration[] = [{ id: "machinery/0001", sql: machinery0001 }];

/**
 * Brings the object's schema up to date, in one transaction. Synchronous, so it can run in the constructor and nothing sees the old schema.
 * Throws when the list was edited after it had been applied: that object must not run on a guess.
 */
export function migrate(storage: DurableObjectStorage, own: readonly Migration[]): void {
  const list = [...MACHINERY, ...own];
  storage.transactionSync(() => {
    storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, id TEXT NOT NULL, applied_at INTEGER NOT NULL)",
    );
    const applied = storage.sql.exec<{ id: string }>("SELECT id FROM migration ORDER BY number").toArray();
    const next = list.slice(applied.length);
    applied.forEach(({ id }, i) => {
      if (list[i]?.id !== id)
        throw new Error(`migration ${id} was applied as number ${i + 1}, where the list has ${list[i]?.id ?? "none"}`);
    });
    for (const [i, { id, sql }] of next.entries()) {
      storage.sql.exec(sql);
      storage.sql.exec("INSERT INTO migration VALUES (?, ?, ?)", applied.length + i + 1, id, Date.now());
    }
  });
}
