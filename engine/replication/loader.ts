import type { EngineHealth } from "../../contract/engine.ts";
import type { Shape } from "../shape/shape.ts";
import type { Evidence } from "../source/sample.ts";
import type { LoadProgress, Position, Source, Witness } from "../source/source.ts";
import type { Store, Table } from "../store/table.ts";
import type { MemoryLimit } from "./memory.ts";
import { verify } from "./verification.ts";

/** Reads tables of a source, and shows how far it is. */
export class Loader {
  progress: EngineHealth["load"] = {
    table: null,
    tables: 0,
    tables_done: 0,
    rows: 0,
    rows_expected: null,
    verified: null,
  };
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

  /**
   * All tables, with progress.
   * @param scratch empty tables: what was loaded is compared with the source; null: it is not
   */
  async loadAll(store: Store, scratch: Store | null): Promise<Position> {
    this.progress = { ...this.progress, table: null, tables: store.tables.length, tables_done: 0, rows: 0 };
    const evidence: Evidence[] = [];
    const handed = new Map<number, number>();
    const witness = scratch === null ? undefined : (of: Evidence) => void evidence.push(of);
    const position = await this.read(new Map(store.tables.entries()), witness, (place, table, rows) => {
      handed.set(place, (handed.get(place) ?? 0) + rows);
      const { tables_done, rows: before } = this.progress;
      const isNext = this.progress.table !== null && table !== this.progress.table;
      this.progress = {
        ...this.progress,
        table,
        tables_done: isNext ? tables_done + 1 : tables_done,
        rows: before + rows,
      };
    });
    const verified = scratch === null ? null : verify(this.#shape, store, scratch, evidence, handed);
    this.progress = { ...this.progress, table: null, tables_done: store.tables.length, verified };
    return position;
  }

  async read(
    tables: ReadonlyMap<number, Table>,
    witness?: Witness,
    show: (place: number, table: string, rows: number) => void = () => {},
  ): Promise<Position> {
    let [at, name] = [-1, ""];
    const progress: LoadProgress = {
      table: (place) => {
        at = place;
        name = this.#shape.tables[place]?.name ?? "";
        show(at, name, 0);
      },
      rows: (count) => {
        show(at, name, count);
        this.#memory.check(`loading ${name}`);
      },
    };
    const position = await this.#source.snapshot(tables, progress, witness);
    for (const table of tables.values()) {
      table.finish();
      // Sorting a large table takes a while: requests are answered in between.
      await new Promise(setImmediate);
    }
    this.#memory.check("what was loaded");
    return position;
  }
}
