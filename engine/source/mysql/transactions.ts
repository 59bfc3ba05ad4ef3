import { type Shape, tableAt } from "../../shape/shape.ts";
import type { Cells } from "../../store/cell.ts";
import { SourceFailure } from "../failure.ts";
import type { Change, Transaction } from "../source.ts";
import {
  type BinlogEvent,
  Checksums,
  EVENT,
  isRows,
  readEvent,
  readMariadbGtid,
  readQuery,
  readRotate,
  readRows,
  readTableMap,
  type TableMap,
} from "./binlog-event.ts";
import { type Layout, matches } from "./layout.ts";
import { MysqlPosition } from "./position.ts";
import { ImageReader } from "./row-image.ts";

/** `redefined`: a definition changed with it, so that layouts must be read again before the next event. */
export type Step =
  | { kind: "transaction"; transaction: Transaction; redefined: boolean }
  | { kind: "caught up"; position: MysqlPosition }
  | null;

type Mapped = { place: number; reader: ImageReader | null /** Why there is no reader. */; unread: string };

/** Makes transactions of a server's log. */
export class Transactions {
  layouts: ReadonlyMap<number, Layout>;
  readonly #shape: Shape;
  readonly #places: ReadonlyMap<string, number>;
  readonly #tables = new Map<number, Mapped | null>();
  #file: string | null;
  #offset: number;
  /** The file that events come from. */
  #streamed: string | null = null;
  #gtids: Map<number, { server: number; number: bigint }> | null;
  #pending: { domain: number; server: number; number: bigint } | null = null;
  readonly #checksums = new Checksums();
  #isOpen = false;
  #changes: Change[] = [];
  /** With the reason. */
  #reload = new Map<number, string>();
  #truncated = new Set<number>();

  constructor(shape: Shape, from: MysqlPosition, layouts: ReadonlyMap<number, Layout>) {
    this.#shape = shape;
    this.layouts = layouts;
    this.#places = new Map(shape.tables.map(({ source }, place) => [source, place]));
    this.#file = from.file;
    this.#offset = from.offset;
    this.#gtids = from.gtids === null ? null : new Map(from.gtids);
  }

  take(data: Buffer): Step {
    const event = readEvent(this.#checksums.check(data));
    switch (event.type) {
      case EVENT.rotate: {
        // The first one that a server sends is of its own making: it may be from before where this is.
        const { file, offset } = readRotate(event.body);
        this.#streamed = file;
        this.#moveTo(file, offset);
        return null;
      }
      case EVENT.heartbeat:
        if (this.#isOpen || this.#pending !== null) return null;
        // The server is past what is no transaction, too: descriptions of files, for one.
        if (event.body.toString("utf8") === this.#streamed && event.end > 0) this.#moveTo(this.#streamed, event.end);
        return { kind: "caught up", position: this.#position() };
      case EVENT.format:
        // The tables of another file have other numbers.
        this.#tables.clear();
        return null;
      case EVENT.mariadbGtid: {
        const gtid = readMariadbGtid(event);
        this.#pending = gtid;
        this.#isOpen = !gtid.standalone;
        return null;
      }
      case EVENT.tableMap: {
        const map = readTableMap(event.body);
        this.#tables.set(map.id, this.#mapped(map));
        return null;
      }
      case EVENT.xid:
        return this.#commit(event);
      case EVENT.query:
      case EVENT.compressedQuery:
        return this.#query(event);
      case EVENT.mysqlPayload:
      case EVENT.partialUpdate:
        throw new SourceFailure(
          "binlog_format",
          "the source compresses transactions or writes parts of JSON; SET GLOBAL binlog_transaction_compression = OFF, binlog_row_value_options = ''",
        );
      default:
        if (isRows(event.type)) this.#rows(event);
        return null;
    }
  }

  #mapped(map: TableMap): Mapped | null {
    const place = map.schema === this.#shape.schema ? this.#places.get(map.table) : undefined;
    if (place === undefined) return null;
    const table = tableAt(this.#shape, place);
    const layout = this.layouts.get(place);
    const unread =
      table.wholeTable ??
      layout?.unreadable ??
      (layout === undefined || !matches(layout, map) ? "its definition has changed" : "");
    const reader =
      layout !== undefined && unread === "" ? new ImageReader(map, layout.columns, table.columns.length) : null;
    return { place, reader, unread };
  }

  #rows(event: BinlogEvent): void {
    const { tableId, kind, rows, full } = readRows(event);
    const mapped = this.#tables.get(tableId);
    if (!mapped) return;
    const { place, reader } = mapped;
    if (reader === null || !full) {
      this.#reload.set(
        place,
        full ? mapped.unread : "the log has parts of its rows only: SET GLOBAL binlog_row_image = 'FULL'",
      );
      return;
    }
    try {
      reader.begin(rows);
      while (!reader.done) {
        const first = reader.next();
        if (kind === "update") {
          const after = reader.next();
          this.#changes.push({ table: place, before: first, after });
          if (this.#isReferredToDifferently(place, first, after)) this.#cascade(place);
          continue;
        }
        if (kind === "delete") this.#cascade(place);
        this.#changes.push({
          table: place,
          before: kind === "delete" ? first : null,
          after: kind === "write" ? first : null,
        });
      }
    } catch (error) {
      // Whatever its rows are like, the source itself can be asked for them.
      this.#reload.set(place, `its rows cannot be read from the log: ${(error as Error).message}`);
    }
  }

  /** InnoDB changes the rows of other tables by itself, and does not log it. */
  #cascade(place: number): void {
    for (const child of tableAt(this.#shape, place).cascadesTo) {
      if (this.#reload.has(child)) continue;
      this.#reload.set(child, "a foreign key changes it without the log saying so");
      this.#cascade(child);
    }
  }

  #isReferredToDifferently(place: number, before: Cells, after: Cells): boolean {
    const { cascadesTo, relations, key } = tableAt(this.#shape, place);
    const columns = new Set([
      ...key,
      ...relations.filter(({ kind }) => kind === "many").flatMap((each) => each.columns),
    ]);
    return cascadesTo.length > 0 && [...columns].some((column) => before[column] !== after[column]);
  }

  #query(event: BinlogEvent): Step {
    const { schema, sql } = readQuery(event);
    const text = sql.replace(/^(\s|\/\*(?!!).*?\*\/|--.*\n|#.*\n)+/s, "");
    const verb = (/^[A-Za-z]+/.exec(text)?.[0] ?? "").toUpperCase();
    if (verb === "BEGIN" || verb === "START") {
      this.#isOpen = true;
      return null;
    }
    if (verb === "COMMIT") return this.#commit(event);
    if (verb === "ROLLBACK") {
      this.#changes = [];
      return this.#commit(event);
    }
    if (verb === "SAVEPOINT" || verb === "RELEASE" || verb === "XA") return null;
    const named = this.#named(text, schema);
    const isWrite = ["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "WITH"].includes(verb);
    if (verb === "TRUNCATE") for (const place of named) this.#truncated.add(place);
    // A statement instead of its rows: only the source knows what it did.
    else if (isWrite)
      for (const place of schema === this.#shape.schema ? this.#places.values() : named)
        this.#reload.set(place, "the log has a statement instead of rows");
    else if (/^(ALTER|DROP|RENAME|CREATE\s+OR\s+REPLACE)/i.test(text))
      for (const place of named) this.#reload.set(place, `${verb} may have changed its rows`);
    if (this.#isOpen) return null;
    return this.#commit(event, ["ALTER", "CREATE", "DROP", "RENAME"].includes(verb) && named.length > 0);
  }

  /** The tables that a statement may be about. Rather one too many. */
  #named(text: string, schema: string): number[] {
    const words = new Set(
      [...text.matchAll(/`((?:[^`]|``)+)`|[\p{L}\p{N}_$]+/gu)].map(
        ([word, quoted]) => quoted?.replaceAll("``", "`") ?? word,
      ),
    );
    if (schema !== this.#shape.schema && !words.has(this.#shape.schema)) return [];
    return [...this.#places].filter(([name]) => words.has(name)).map(([, place]) => place);
  }

  #commit(event: BinlogEvent, redefined = false): Step {
    this.#isOpen = false;
    if (event.end > 0) {
      this.#file = this.#streamed ?? this.#file;
      this.#offset = event.end;
    }
    if (this.#pending !== null) {
      this.#gtids ??= new Map();
      this.#gtids.set(this.#pending.domain, this.#pending);
      this.#pending = null;
    }
    const transaction: Transaction = {
      ...{ position: this.#position(), changes: this.#changes, reload: this.#reload, truncated: [...this.#truncated] },
    };
    this.#changes = [];
    this.#reload = new Map();
    this.#truncated = new Set();
    return { kind: "transaction", transaction, redefined };
  }

  #moveTo(file: string, offset: number): void {
    const next = new MysqlPosition(file, offset, null);
    if (this.#file !== null && next.compare(new MysqlPosition(this.#file, this.#offset, null)) <= 0) return;
    this.#file = file;
    this.#offset = offset;
  }

  #position(): MysqlPosition {
    return new MysqlPosition(this.#file, this.#offset, this.#gtids === null ? null : new Map(this.#gtids));
  }
}
