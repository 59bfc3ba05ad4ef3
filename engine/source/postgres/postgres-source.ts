import { randomInt } from "node:crypto";
import type pg from "pg";
import type { SourceConnection, SyncMode, SyncSettings } from "../../../contract/engine.ts";
import type { SourceSchema } from "../../../contract/source-schema.ts";
import { tracesName } from "../../../contract/source-traces.ts";
import { postgresSchema } from "../../schema/postgres.ts";
import type { Shape } from "../../shape/shape.ts";
import type { Store, Table } from "../../store/table.ts";
import { connectPostgres } from "../connect.ts";
import { SourceFailure, sourceFailure } from "../failure.ts";
import { Probe } from "../probe.ts";
import type { LoadProgress, Position, Sink, Source, Witness } from "../source.ts";
import { evidenceOf, identifier, loadTables } from "./load.ts";
import { readMessage } from "./pgoutput.ts";
import { PostgresPosition } from "./position.ts";
import { completePublication, makePublication } from "./publication.ts";
import { ReplicationStream } from "./replication-stream.ts";
import { dropIdleSlots, dropSlot, LeftSlots } from "./traces.ts";
import { Transactions } from "./transactions.ts";

export type PostgresOptions = {
  source: SourceConnection;
  shape: Shape;
  sync: SyncSettings;
  instance: string;
  generation: number;
  /** The slot outlives the engine, which goes on from it. */
  keepsSlot: boolean;
  createStore: () => Store;
  /** It is now here and now there. */
  moves: boolean;
};

const TIDY_EVERY_MS = 60_000;

/** PostgreSQL, followed by logical replication. */
export class PostgresSource implements Source {
  readonly mode: SyncMode;
  readonly reason: Source["reason"];
  readonly unseen: readonly number[];
  readonly #options: PostgresOptions;
  readonly #slot: string;
  readonly #publication: string;
  readonly #left: LeftSlots;
  #aside: Promise<pg.Client> | null = null;
  #forgotten = 0n;

  static async open(options: PostgresOptions): Promise<PostgresSource> {
    const { sync, source } = options;
    if (sync.mode === "poll") return new PostgresSource(options, null);
    const client = await connectPostgres(source);
    try {
      const publication = await publicationFor(client, options, namesOf(options).publication);
      if (typeof publication === "string") return new PostgresSource(options, null, "logical", publication);
      if (sync.mode !== null) throw publication;
      return new PostgresSource(options, publication);
    } finally {
      client.end().catch(() => {});
    }
  }

  private constructor(
    options: PostgresOptions,
    reason: SourceFailure | null,
    mode: SyncMode = "poll",
    publication = namesOf(options).publication,
  ) {
    this.#options = options;
    this.mode = mode;
    this.reason = reason === null ? null : { code: reason.code, message: reason.message };
    const places = [...options.shape.tables.keys()];
    this.unseen = mode === "poll" ? [] : places.filter((place) => options.shape.tables[place]?.wholeTable !== null);
    this.#slot = namesOf(options).slot;
    this.#publication = publication;
    this.#left = new LeftSlots(this.#slot, options.instance);
  }

  /** With the slot as it is there is no snapshot of it any more: each time there is a new one, and what is not kept is the slot of before. */
  async snapshot(into: ReadonlyMap<number, Table>, progress: LoadProgress, witness?: Witness): Promise<Position> {
    const { source, shape } = this.#options;
    const isWhole = into.size === shape.tables.length;
    const client = await connectPostgres(source);
    let replication: pg.Client | null = null;
    try {
      await client.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
      let position = new PostgresPosition(0n);
      if (this.mode === "logical") {
        replication = await connectPostgres(source, true);
        const made = await this.#exportSnapshot(replication, isWhole && this.#needsSlot);
        await client.query(`SET TRANSACTION SNAPSHOT '${made.snapshot}'`);
        position = made.position;
      }
      await loadTables(client, shape, into, progress);
      if (witness !== undefined) for (const place of into.keys()) witness(await evidenceOf(client, shape, place));
      return position;
    } catch (error) {
      throw sourceFailure(error, "initial_load_failed");
    } finally {
      client.end().catch(() => {});
      replication?.end().catch(() => {});
    }
  }

  /** Whether the next whole snapshot is the one that the stream goes on from. */
  #needsSlot = true;

  async #exportSnapshot(
    replication: pg.Client,
    lasting: boolean,
  ): Promise<{ snapshot: string; position: PostgresPosition }> {
    const name = lasting ? this.#slot : `${this.#slot.slice(0, 40)}_reload_${randomInt(1e9)}`;
    if (lasting) await this.#dropOldSlots();
    const { rows } = await replication.query(
      `CREATE_REPLICATION_SLOT ${identifier(name)} ${lasting ? "" : "TEMPORARY"} LOGICAL pgoutput EXPORT_SNAPSHOT`,
    );
    const [row] = rows as { snapshot_name: string; consistent_point: string }[];
    const position = PostgresPosition.parse(row?.consistent_point ?? "");
    if (row === undefined || position === null)
      throw new SourceFailure("initial_load_failed", "the source does not say where its snapshot is");
    if (lasting) this.#forgotten = position.lsn;
    return { snapshot: row.snapshot_name, position };
  }

  /** Its own of before, and those of engines of this instance that are gone. */
  async #dropOldSlots(): Promise<void> {
    await this.#dropSlot();
    await this.#ask((client) => dropIdleSlots(client, this.#options.instance)).catch(() => {});
  }

  #dropSlot(): Promise<void> {
    return this.#ask((client) => dropSlot(client, this.#slot));
  }

  async follow(from: Position, sink: Sink, signal: AbortSignal): Promise<void> {
    const { source, shape, createStore } = this.#options;
    const client = await connectPostgres(source, true);
    let stream: ReplicationStream | null = null;
    const stop = () => stream?.close();
    this.#needsSlot = true;
    const tidying = setInterval(
      () => void this.#ask((client) => this.#left.look(client, Date.now())).catch(() => {}),
      TIDY_EVERY_MS,
    );
    try {
      const start = `START_REPLICATION SLOT ${identifier(this.#slot)} LOGICAL ${from.text} (proto_version '1', publication_names '${identifier(this.#publication)}')`;
      await refuseOlder(client, from as PostgresPosition);
      stream = await ReplicationStream.start(client, start, () => this.#forgotten);
      signal.addEventListener("abort", stop);
      const transactions = new Transactions(shape, createStore());
      let last = (from as PostgresPosition).lsn;
      // What the server says by itself is how far it has sent, not how far it is.
      const probe = new Probe(
        () => this.now(),
        (a, b) => this.compare(a, b),
        (asOf) => sink.caughtUp(new PostgresPosition(last), asOf),
      );
      while (!signal.aborted) {
        for (const arrival of await stream.receive()) {
          if (signal.aborted) return;
          // From here on a whole snapshot is a reload beside the stream.
          this.#needsSlot = false;
          if (arrival.kind === "keepalive") {
            if (transactions.isOpen) continue;
            if (arrival.end > last) last = arrival.end;
            sink.caughtUp(new PostgresPosition(last), null);
            probe.isAt(new PostgresPosition(last));
            continue;
          }
          const transaction = transactions.take(readMessage(arrival.data));
          if (transactions.redefined) {
            transactions.redefined = false;
            await sink.redefined();
          }
          if (transaction === null) continue;
          last = (transaction.position as PostgresPosition).lsn;
          const held = sink.apply(transaction);
          if (held !== undefined) await held;
          probe.isAt(transaction.position);
        }
      }
    } catch (error) {
      this.#needsSlot = true;
      if (!signal.aborted) throw sourceFailure(error, "stream_disconnected");
    } finally {
      clearInterval(tidying);
      signal.removeEventListener("abort", stop);
      stream?.close();
      client.end().catch(() => {});
    }
  }

  now(): Promise<Position> {
    return this.#ask(async (client) => {
      const { rows } = await client.query("SELECT pg_current_wal_lsn() AS lsn");
      const position = PostgresPosition.parse(rows[0]?.lsn ?? "");
      if (position === null) throw new SourceFailure("stream_disconnected", "the source does not say where it is");
      return position;
    });
  }

  compare(a: Position, b: Position): number {
    const [x, y] = [(a as PostgresPosition).lsn, (b as PostgresPosition).lsn];
    return x < y ? -1 : x > y ? 1 : 0;
  }

  parse(text: string): Position | null {
    return PostgresPosition.parse(text);
  }

  forget(until: Position): void {
    const { lsn } = until as PostgresPosition;
    if (lsn > this.#forgotten) this.#forgotten = lsn;
  }

  schema(): Promise<SourceSchema> {
    return this.#ask((client) => postgresSchema(client, this.#options.shape.schema));
  }

  estimate(): Promise<number | null> {
    return this.#ask(async (client) => {
      const { rows } = await client.query(
        "SELECT sum(greatest(c.reltuples, 0))::bigint AS n FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = ANY($2)",
        [this.#options.shape.schema, this.#options.shape.tables.map(({ source }) => source)],
      );
      return rows[0]?.n == null ? null : Number(rows[0].n);
    });
  }

  async leaveOff(): Promise<string | null> {
    if (this.mode !== "logical") return null;
    await this.#dropSlot();
    this.#needsSlot = true;
    return "its slot is dropped, so that the source keeps no log for it meanwhile";
  }

  /** What nobody will read makes the source keep its log for ever: the slot goes with the engine, unless there is a checkpoint to go on from. */
  async close(): Promise<void> {
    if (this.mode === "logical" && !this.#options.keepsSlot) await this.#dropSlot().catch(() => {});
    const aside = this.#aside;
    this.#aside = null;
    if (aside !== null) await aside.then((client) => client.end()).catch(() => {});
  }

  async #ask<T>(question: (client: pg.Client) => Promise<T>): Promise<T> {
    this.#aside ??= connectPostgres(this.#options.source);
    const asked = this.#aside;
    try {
      return await question(await asked);
    } catch (error) {
      if (this.#aside === asked) this.#aside = null;
      asked.then((client) => client.end()).catch(() => {});
      throw sourceFailure(error, "stream_disconnected");
    }
  }
}

/** A source that was restored to an earlier time would have nothing to say until its log is there again, and then something else. */
async function refuseOlder(replication: pg.Client, from: PostgresPosition): Promise<void> {
  const { rows } = await replication.query("IDENTIFY_SYSTEM");
  const end = PostgresPosition.parse((rows[0] as { xlogpos?: string } | undefined)?.xlogpos ?? "");
  if (end !== null && end.lsn < from.lsn)
    throw new SourceFailure(
      "log_purged",
      `the log of the source ends at ${end.text}, before what is here: it was restored`,
    );
}

function namesOf({ sync, instance, generation }: PostgresOptions): { slot: string; publication: string } {
  const name = tracesName(instance);
  return { slot: `${name}_g${generation}`, publication: sync.publication ?? name };
}

/** What logical replication needs of a server and a user and does not have, each with the statement that makes it so. */
export async function obstaclesOf(client: pg.Client, user: string): Promise<SourceFailure[]> {
  const { rows } = await client.query(
    "SELECT current_setting('wal_level') AS level, current_setting('max_replication_slots')::int AS slots, (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may",
  );
  const [{ level, slots, may }] = rows as [{ level: string; slots: number; may: boolean }];
  const found: SourceFailure[] = [];
  if (level !== "logical")
    found.push(
      new SourceFailure("wal_level", `wal_level is ${level}: ALTER SYSTEM SET wal_level = 'logical', then restart`),
    );
  if (slots === 0)
    found.push(
      new SourceFailure(
        "slot_limit",
        "max_replication_slots is 0: ALTER SYSTEM SET max_replication_slots = 10, then restart",
      ),
    );
  if (!may) found.push(new SourceFailure("repl_grant_missing", `ALTER ROLE ${identifier(user)} REPLICATION`));
  return found;
}

/**
 * The publication that is followed, or why none is. The instance's own is made here where the user may; else one that somebody made is as good.
 */
async function publicationFor(
  client: pg.Client,
  { shape, source }: PostgresOptions,
  own: string,
): Promise<string | SourceFailure> {
  const [obstacle] = await obstaclesOf(client, source.user);
  if (obstacle !== undefined) return obstacle;
  const wanted = { schema: shape.schema, tables: publishable(shape.tables) };
  const failure = await makePublication(client, own, wanted);
  if (failure === null) return own;
  return (await completePublication(client, wanted)) ?? failure;
}

/** A table without an identity would refuse updates of its own users once it is published: such are read as a whole. */
export const publishable = (tables: Shape["tables"]): string[] =>
  tables.filter(({ wholeTable }) => wholeTable === null).map(({ source }) => source);
