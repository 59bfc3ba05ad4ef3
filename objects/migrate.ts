import machinery0001 from "../migrations/machinery/0001_create.sql";
import machinery0002 from "../migrations/machinery/0002_announced.sql";

/** One step of an object's schema, `<family>/<number>`. Steps of a family are only ever appended; what was applied must be a prefix of them. */
export type Migration = { id: string; sql: string };

const MACHINERY: readonly Migration[] = [
  { id: "machinery/0001", sql: machinery0001 },
  { id: "machinery/0002", sql: machinery0002 },
];

const familyOf = (id: string): string => id.slice(0, id.indexOf("/"));

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
    // The machinery and the kind each go on for themselves: a new step of the one comes after old steps of the other.
    const left = Map.groupBy(list, ({ id }) => familyOf(id));
    applied.forEach(({ id }, i) => {
      const expected = left.get(familyOf(id))?.shift()?.id;
      if (expected !== id)
        throw new Error(`migration ${id} was applied as number ${i + 1}, where the list has ${expected ?? "none"}`);
    });
    for (const [i, { id, sql }] of [...left.values()].flat().entries()) {
      storage.sql.exec(sql);
      storage.sql.exec("INSERT INTO migration VALUES (?, ?, ?)", applied.length + i + 1, id, Date.now());
    }
  });
}
