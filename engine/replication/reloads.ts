import type { Shape } from "../shape/shape.ts";
import type { Change, Position, Source, Transaction } from "../source/source.ts";
import type { Store, Table } from "../store/table.ts";

/** Tables that are being read again while the stream goes on, and what the stream had for them meanwhile. */
class Reload {
  readonly tables: ReadonlyMap<number, Table>;
  readonly #since: { position: Position; changes: Change[]; truncated: number[] }[] = [];
  /** As of when they are; null while they are read. */
  position: Position | null = null;

  constructor(tables: ReadonlyMap<number, Table>) {
    this.tables = tables;
  }

  note({ position, changes, truncated }: Transaction): void {
    const own = changes.filter(({ table }) => this.tables.has(table));
    const emptied = truncated.filter((place) => this.tables.has(place));
    if (own.length + emptied.length > 0) this.#since.push({ position, changes: own, truncated: emptied });
  }

  /** The tables as new as the stream is. */
  finished(source: Source, shape: Shape, empty: () => Store): Map<number, Table> {
    const tables = new Map(this.tables);
    for (const { position, changes, truncated } of this.#since) {
      if (this.position !== null && source.compare(position, this.position) <= 0) continue;
      for (const place of truncated) tables.set(place, emptyTable(empty, place));
      for (const change of changes) applyChange(shape, tables.get(change.table) as Table, change);
    }
    return tables;
  }
}

/** All reloads that are under way. */
export class Reloads {
  readonly #source: Source;
  readonly #shape: Shape;
  readonly #empty: () => Store;
  #all: Reload[] = [];

  constructor(source: Source, shape: Shape, empty: () => Store) {
    this.#source = source;
    this.#shape = shape;
    this.#empty = empty;
  }

  get size(): number {
    return this.#all.length;
  }

  begin(tables: ReadonlyMap<number, Table>): Reload {
    const reload = new Reload(tables);
    this.#all.push(reload);
    return reload;
  }

  /** Whether it was still wanted. */
  end(reload: Reload, position: Position): boolean {
    reload.position = position;
    return this.#all.includes(reload);
  }

  drop(reload: Reload): void {
    this.#all = this.#all.filter((each) => each !== reload);
  }

  clear(): void {
    this.#all = [];
  }

  note(transaction: Transaction): void {
    for (const reload of this.#all) reload.note(transaction);
  }

  /** What is as old as `position` or older, made as new as that. With `before`, only what is older. */
  due(position: Position, before: boolean): ReadonlyMap<number, Table> {
    const due = new Map<number, Table>();
    for (const reload of this.#all) {
      if (reload.position === null) continue;
      const order = this.#source.compare(reload.position, position);
      if (before ? order >= 0 : order > 0) continue;
      this.drop(reload);
      for (const [place, table] of reload.finished(this.#source, this.#shape, this.#empty)) due.set(place, table);
    }
    return due;
  }
}

export function applyChange(shape: Shape, table: Table, { table: place, before, after }: Change): void {
  const { key } = shape.tables[place] as Shape["tables"][number];
  if (before !== null && (after === null || key.some((column) => before[column] !== after[column])))
    table.remove(before);
  if (after !== null) table.put(after);
}

export function emptyTable(empty: () => Store, place: number): Table {
  const table = empty().tables[place] as Table;
  table.finish();
  return table;
}

/** The same tables, some of them replaced. */
export function withTables(store: Store, replaced: ReadonlyMap<number, Table>): Store {
  const tables = store.tables.map((table, place) => replaced.get(place) ?? table);
  return Object.assign(Object.fromEntries(tables.map((table, place) => [`t${place}`, table])), {
    tables,
  }) as unknown as Store;
}
