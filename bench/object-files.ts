import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** What workerd keeps of one class of Durable Objects: a SQLite file for each object, and the alarms of all in `metadata.sqlite`. */
export class ObjectFiles {
  readonly #folder: string;

  constructor(stateDir: string, className: string) {
    this.#folder = join(stateDir, `lamplighter-${className}`);
  }

  /** When the alarm of each object that has one is due, ms since 1970. */
  alarms(): Map<string, number> {
    const database = new DatabaseSync(join(this.#folder, "metadata.sqlite"), { readOnly: true });
    try {
      const rows = database.prepare("SELECT actor_id, scheduled_time / 1000000 AS at FROM _cf_ALARM").all();
      return new Map(rows.map((row) => [row.actor_id as string, row.at as number]));
    } finally {
      database.close();
    }
  }

  objects(): string[] {
    return readdirSync(this.#folder).filter((name) => name.endsWith(".sqlite") && name !== "metadata.sqlite");
  }

  /** Changes with every write to the object. */
  stamp(object: string): string {
    return [object, `${object}-wal`]
      .map((name) => statSync(join(this.#folder, name), { throwIfNoEntry: false }))
      .map((stat) => (stat === undefined ? "" : `${stat.mtimeMs}/${stat.size}`))
      .join(" ");
  }

  /** True once it was put out of memory, and its file closed. */
  isClosed(object: string): boolean {
    return !existsSync(join(this.#folder, `${object}-wal`));
  }

  /** All rows of all tables. Read from a copy, so that nobody waits for a lock of ours. */
  rows(object: string): Set<string> {
    const scratch = mkdtempSync(join(tmpdir(), "lamplighter-rows-"));
    try {
      for (const name of [object, `${object}-wal`]) {
        if (existsSync(join(this.#folder, name))) copyFileSync(join(this.#folder, name), join(scratch, name));
      }
      const database = new DatabaseSync(join(scratch, object));
      try {
        const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
        return new Set(tables.flatMap(({ name }) => rowsOf(database, name as string)));
      } finally {
        database.close();
      }
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
}

function rowsOf(database: DatabaseSync, table: string): string[] {
  const statement = database.prepare(`SELECT * FROM "${table}"`);
  statement.setReadBigInts(true);
  const plain = (_key: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
  return statement.all().map((row) => `${table} ${JSON.stringify(row, plain)}`);
}

/** How many rows were written at least to come from one to the other. */
export function rowsWritten(before: ReadonlySet<string>, after: ReadonlySet<string>): number {
  const without = (all: ReadonlySet<string>, some: ReadonlySet<string>) =>
    [...all].filter((row) => !some.has(row)).length;
  return Math.max(without(after, before), without(before, after));
}
