import type { EngineHealth } from "../../contract/engine.ts";
import type { Shape } from "../shape/shape.ts";
import type { Position, Source } from "../source/source.ts";
import type { Store, Table } from "../store/table.ts";
import type { MemoryLimit } from "./memory.ts";

/** Reads tables of a source, and shows how far it is. */
export class Loader {
  progress: EngineHealth["load"] = { table: null, tables: 0, tables_done: 0, rows: 0, rows_expected: null };
  readonly #shape: Shape;
  readonly #source: Source;
  readonly #memory: MemoryLimit;

  constructor({ shape, source, memory }: { shape: Shape; source: Source; memory: MemoryLimit }) {
    this.#shape = shape;
    this.#source = source;
    this.#memory = memory;
  }

  /** @param rows as far as the source can guess them */
  expect(rows: number | null): void {
    this.progress = { ...this.progress, rows_expected: rows };
  }

  /** All tables, with progress. */
  async loadAll(store: Store): Promise<Position> {
    this.progress = { ...this.progress, table: null, tables: store.tables.length, tables_done: 0, rows: 0 };
    const position = await this.read(new Map(store.tables.entries()), (table, rows) => {
      const { tables_done, rows: before } = this.progress;
      const isNext = this.progress.table !== null && table !== this.progress.table;
      this.progress = {
        ...this.progress,
        table,
        tables_done: isNext ? tables_done + 1 : tables_done,
        rows: before + rows,
      };
    });
    this.progress = { ...this.progress, table: null, tables_done: store.tables.length };
    return position;
  }

  async read(
    tables: ReadonlyMap<number, Table>,
    show: (table: string, rows: number) => void = () => {},
  ): Promise<Position> {
    let name = "";
    const position = await this.#source.snapshot(tables, {
      table: (place) => {
        name = this.#shape.tables[place]?.name ?? "";
        show(name, 0);
      },
      rows: (count) => {
        show(name, count);
        this.#memory.check(`loading ${name}`);
      },
    });
    for (const table of tables.values()) {
      table.finish();
      // Sorting a large table takes a while: requests are answered in between.
      await new Promise(setImmediate);
    }
    this.#memory.check("what was loaded");
    return position;
  }
}
