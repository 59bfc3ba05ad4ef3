import type { SyncMode } from "../../contract/engine.ts";
import type { SourceSchema } from "../../contract/source-schema.ts";
import type { Cells } from "../store/cell.ts";
import type { Table } from "../store/table.ts";
import type { Evidence } from "./sample.ts";

/** Where in the source's log something is. `text` is what callers see, and what a checkpoint keeps. */
export type Position = { text: string };

/** A change of one row. An insert has no `before`, a delete no `after`. */
export type Change = { table: number; before: Cells | null; after: Cells | null };

/** All that one transaction of the source changed, at once. */
export type Transaction = {
  position: Position;
  changes: readonly Change[];
  /** Tables whose rows must be read again, as the log does not have what happened to them, and why; `truncated` ones are empty. */
  reload: ReadonlyMap<number, string>;
  truncated: readonly number[];
};

/** Who follows a source. */
export type Sink = {
  /** A promise: nothing more until then. */
  apply(transaction: Transaction): Promise<void> | undefined;
  /** All up to here has been handed over. `asOf`: the source had no more then, ms since 1970; null: it may have had. */
  caughtUp(position: Position, asOf: number | null): void;
  /** The source changed the definition of a table. Fails when that cannot be gone along with. */
  redefined(): Promise<void>;
};

export type LoadProgress = { table(place: number): void; rows(count: number): void };

export type Witness = (evidence: Evidence) => void;

/** A source as an engine sees it. All of its calls fail with a SourceFailure. */
export interface Source {
  readonly mode: SyncMode;
  /** Why it is polled though it might have been followed; null otherwise. */
  readonly reason: { code: string; message: string } | null;
  /** Tables that the stream has nothing of; they are read again from time to time. */
  readonly unseen: readonly number[];
  /**
   * Appends the rows of tables, all as of one position; tables are given by their place in the shape.
   * @param witness told what else the source says of each table then; not of one that has no states
   */
  snapshot(into: ReadonlyMap<number, Table>, progress: LoadProgress, witness?: Witness): Promise<Position>;
  /** Hands everything after a position to the sink, until the signal or until the source ends it. Then it fails, unless it was the signal. */
  follow(from: Position, sink: Sink, signal: AbortSignal): Promise<void>;
  /** The position that the source has now. */
  now(): Promise<Position>;
  /** Negative: a is before b. */
  compare(a: Position, b: Position): number;
  /** Null: that is not a position of this source. */
  parse(text: string): Position | null;
  /** What came before this is kept here and will not be asked for again. */
  forget(until: Position): void;
  /** Nothing is followed until everything is read anew: what would make the source keep its log goes. Answers what there is to say of it. */
  leaveOff(): Promise<string | null>;
  schema(): Promise<SourceSchema>;
  estimate(): Promise<number | null>;
  close(): Promise<void>;
}
