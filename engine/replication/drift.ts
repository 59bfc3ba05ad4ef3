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

/** What the source has that the engine was built without: nothing breaks, and a rebuild would bring it. */
export function additionsOf(before: SourceSchema, now: SourceSchema): SchemaDrift[] {
  const drift: SchemaDrift[] = [];
  for (const table of now.tables) {
    const old = before.tables.find(({ name }) => name === table.name);
    if (old === undefined) {
      drift.push({
        table: table.name,
        column: null,
        change: "table_added",
        breaking: false,
        detail: `${table.name} is new`,
      });
      continue;
    }
    for (const { name } of table.columns)
      if (!old.columns.some((column) => column.name === name))
        drift.push({
          table: table.name,
          column: name,
          change: "column_added",
          breaking: false,
          detail: `${table.name}.${name} is new`,
        });
  }
  return drift;
}

/** Looks whether a source's schema is still the one that was built from. */
export class DriftWatch {
  found: SchemaDrift[] = [];
  readonly #shape: Shape;
  readonly #source: Source;
  /** As it was when the rows were read. */
  #read: SourceSchema | null = null;

  constructor({ shape, source }: { shape: Shape; source: Source }) {
    this.#shape = shape;
    this.#source = source;
  }

  /** Before the rows are read. Fails where they could not be. */
  async begin({ mayDiffer = false } = {}): Promise<void> {
    this.#read = await this.#source.schema();
    if (!mayDiffer) this.#refuse(driftOf(this.#shape, this.#read));
  }

  /** Fails when what is followed cannot be gone along with. */
  async look(): Promise<void> {
    if (this.#read === null) return;
    const now = await this.#source.schema().catch(() => null);
    if (now === null) return;
    const drift = driftOf(this.#shape, now);
    this.found = [...drift, ...additionsOf(this.#read, now)];
    if (this.#source.mode !== "poll") this.#refuse(drift);
  }

  #refuse(drift: readonly SchemaDrift[]): void {
    const breaking = drift.filter((each) => each.breaking);
    if (breaking.length === 0) return;
    this.found = [...drift];
    throw new SourceFailure("schema_drift", `${breaking.map(({ detail }) => detail).join("; ")}: rebuild`);
  }
}
