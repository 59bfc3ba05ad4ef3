import type { SchemaDrift } from "../../contract/engine.ts";
import type { SourceSchema } from "../../contract/source-schema.ts";
import type { Shape } from "../shape/shape.ts";
import { SourceFailure } from "../source/failure.ts";
import type { Source } from "../source/source.ts";

/** In what a source's schema differs from the one that an engine was compiled from. */
export function driftOf(shape: Shape, schema: SourceSchema): SchemaDrift[] {
  const drift: SchemaDrift[] = [];
  const add = (
    change: SchemaDrift["change"],
    breaking: boolean,
    table: string,
    column: string | null,
    detail: string,
  ) => drift.push({ table, column, change, breaking, detail });
  for (const table of shape.tables) {
    const now = schema.tables.find(({ name }) => name === table.source);
    if (now === undefined) {
      add("table_gone", true, table.source, null, `the source has no table ${table.source} any more`);
      continue;
    }
    for (const column of table.columns) {
      const own = now.columns.find(({ name }) => name === column.source);
      if (own === undefined)
        add("column_gone", true, table.source, column.source, `${table.source}.${column.source} is gone`);
      else if (JSON.stringify(own.type) !== JSON.stringify(column.type))
        add(
          "column_changed",
          true,
          table.source,
          column.source,
          `${table.source}.${column.source} was ${column.declared} and is ${own.declared}`,
        );
      else if (own.nullable && !column.nullable)
        add("column_changed", true, table.source, column.source, `${table.source}.${column.source} may be NULL now`);
    }
    const key = table.key.map((place) => table.columns[place]?.source).join();
    if (table.key.length > 0 && key !== now.primaryKey.join())
      add(
        "key_changed",
        true,
        table.source,
        null,
        `the primary key of ${table.source} was ${key} and is ${now.primaryKey.join() || "gone"}`,
      );
  }
  return drift;
}

/** What the source has and had not when the engine was built: nothing breaks, and a rebuild would bring it. */
export function additionsOf({ known }: Shape, now: SourceSchema): SchemaDrift[] {
  const added = (table: string, column: string | null): SchemaDrift => ({
    ...{ table, column, change: column === null ? "table_added" : "column_added", breaking: false },
    detail: `${column === null ? table : `${table}.${column}`} is new`,
  });
  return now.tables.flatMap(({ name, columns }) => {
    const before = known.find(({ table }) => table === name);
    if (before === undefined) return [added(name, null)];
    return columns.filter((column) => !before.columns.includes(column.name)).map((column) => added(name, column.name));
  });
}

/** Looks whether a source's schema is still the one that was built from. */
export class DriftWatch {
  /** All of it, whether the engine can go on with it or not. */
  found: SchemaDrift[] = [];
  readonly #shape: Shape;
  readonly #source: Source;

  constructor({ shape, source }: { shape: Shape; source: Source }) {
    this.#shape = shape;
    this.#source = source;
  }

  /** Before the rows are read. Fails where they could not be. */
  async begin({ mayDiffer = false } = {}): Promise<void> {
    const breaking = this.#compare(await this.#source.schema());
    if (!mayDiffer) refuse(breaking);
  }

  /** Fails when what is followed cannot be gone along with. */
  async look(): Promise<void> {
    const now = await this.#source.schema().catch(() => null);
    if (now === null) return;
    const breaking = this.#compare(now);
    // Whoever reads everything looks before that.
    if (this.#source.mode !== "poll") refuse(breaking);
  }

  /** Whether it can be gone on with. */
  async fits(): Promise<boolean> {
    const now = await this.#source.schema().catch(() => null);
    return now !== null && this.#compare(now).length === 0;
  }

  /** What the engine cannot go on with. */
  #compare(now: SourceSchema): SchemaDrift[] {
    const drift = driftOf(this.#shape, now);
    this.found = [...drift, ...additionsOf(this.#shape, now)];
    return drift.filter(({ breaking }) => breaking);
  }
}

function refuse(breaking: readonly SchemaDrift[]): void {
  if (breaking.length > 0)
    throw new SourceFailure("schema_drift", `${breaking.map(({ detail }) => detail).join("; ")}: rebuild`);
}
