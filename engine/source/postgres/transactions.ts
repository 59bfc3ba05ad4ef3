import { type Shape, tableAt } from "../../shape/shape.ts";
import type { Cells } from "../../store/cell.ts";
import type { Store } from "../../store/table.ts";
import { SourceFailure } from "../failure.ts";
import type { Change, Transaction } from "../source.ts";
import type { Message, Tuple } from "./pgoutput.ts";
import { PostgresPosition } from "./position.ts";

/** `columns`: for each of the table's own, where in a tuple it is. */
type Mapped = { place: number; columns: number[]; isWhole: boolean };

/** Makes transactions of what pgoutput says. */
export class Transactions {
  readonly #shape: Shape;
  /** Reads texts to cells; nothing is put into it. */
  readonly #reader: Store;
  readonly #relations = new Map<number, Mapped | null>();
  #changes: Change[] = [];
  /** With the reason. */
  #reload = new Map<number, string>();
  #truncated = new Set<number>();
  isOpen = false;
  /** A table was described again: its definition has changed. */
  redefined = false;

  constructor(shape: Shape, reader: Store) {
    this.#shape = shape;
    this.#reader = reader;
  }

  take(message: Message): Transaction | null {
    switch (message.kind) {
      case "begin":
        this.isOpen = true;
        return null;
      case "commit":
        return this.#commit(message.end);
      case "relation": {
        const mapped = this.#mapped(message);
        // The first time in a stream, a column that is not known here may be a new one.
        const hasMore = mapped !== null && message.columns.length > mapped.columns.length;
        this.redefined ||= hasMore || this.#relations.has(message.id);
        this.#relations.set(message.id, mapped);
        return null;
      }
      case "insert":
        this.#change(message.relation, null, message.after);
        return null;
      case "update":
        this.#change(message.relation, message.before, message.after);
        return null;
      case "delete":
        this.#change(message.relation, message.before, null);
        return null;
      case "truncate":
        for (const relation of message.relations) {
          const mapped = this.#relations.get(relation);
          if (!mapped) continue;
          // What came before it in the same transaction is gone, too.
          this.#changes = this.#changes.filter(({ table }) => table !== mapped.place);
          this.#truncated.add(mapped.place);
        }
        return null;
      case "other":
        return null;
    }
  }

  #mapped({ schema, table: name, columns }: Message & { kind: "relation" }): Mapped | null {
    if (schema !== this.#shape.schema) return null;
    const place = this.#shape.tables.findIndex(({ source }) => source === name);
    if (place < 0) return null;
    const table = tableAt(this.#shape, place);
    const places = table.columns.map(({ source }) => columns.findIndex((column) => column.name === source));
    const gone = table.columns.find((_, i) => places[i] === -1);
    if (gone !== undefined) throw new SourceFailure("schema_drift", `${name}.${gone.source} is gone: rebuild`);
    return { place, columns: places, isWhole: table.wholeTable !== null };
  }

  #change(relation: number, before: Tuple | null, after: Tuple | null): void {
    const mapped = this.#relations.get(relation);
    if (!mapped) return;
    if (mapped.isWhole) {
      this.#reload.set(mapped.place, tableAt(this.#shape, mapped.place).wholeTable ?? "");
      return;
    }
    const read = (tuple: Tuple): Cells | null => {
      try {
        return (this.#reader.tables[mapped.place] as Store["tables"][number]).read(
          mapped.columns.map((at) => tuple[at]),
        );
      } catch {
        return null;
      }
    };
    const cells = { before: before === null ? null : read(before), after: after === null ? null : read(after) };
    // Whatever its rows are like, the source itself can be asked for them.
    if ((before !== null && cells.before === null) || (after !== null && cells.after === null))
      this.#reload.set(mapped.place, "its rows are not of the types that they were");
    else this.#changes.push({ table: mapped.place, ...cells });
  }

  #commit(end: bigint): Transaction {
    this.isOpen = false;
    const transaction: Transaction = {
      ...{ position: new PostgresPosition(end), changes: this.#changes },
      ...{ reload: this.#reload, truncated: [...this.#truncated] },
    };
    this.#changes = [];
    this.#reload = new Map();
    this.#truncated = new Set();
    return transaction;
  }
}
